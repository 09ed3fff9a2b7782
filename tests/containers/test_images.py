"""Pull policies, limits, back-off, and what is told of them."""

import asyncio

import pytest

from pykubelet.api.core import Pod
from pykubelet.api.meta import ObjectMeta
from pykubelet.base.clock import LoopClock
from pykubelet.base.errors import StartError
from pykubelet.base.metrics import Metrics
from pykubelet.containers.credentials.docker_config import Login
from pykubelet.containers.credentials.keyring import Credential, Source
from pykubelet.containers.images import Images
from pykubelet.containers.pull_limits import PullBackoff, TokenBucket
from pykubelet.containers.pulled import Policy, PulledImages, RecordStore
from pykubelet.containers.pulls import ImageNeed, Pulls, pull_failure, size_label
from pykubelet.containers.settings import ContainerSettings
from pykubelet.cri.errors import Code, CriError
from pykubelet.cri.memory import MemoryRuntime
from pykubelet.cri.memory_faults import Fault
from pykubelet.rpc import cri_v1

pytestmark = pytest.mark.looptime(start=0)
SANDBOX = cri_v1.PodSandboxConfig()


class Registry(MemoryRuntime):
    """A runtime whose registry lets in some users; with none named, everyone."""

    users: tuple = ()

    def __init__(self):
        super().__init__(LoopClock(), latency={"PullImage": 1.5})
        self.tried = []

    async def pull_image(self, image, auth=None, sandbox_config=None, **more):
        user = auth.username if auth is not None else ""
        self.tried.append(user)
        if self.users and user not in self.users:
            raise CriError(Code.Unknown, "PullImage", f"unauthorized: {user}")
        return await super().pull_image(image, auth, sandbox_config, **more)


class Logins:
    """The pod's credentials, and how often they were looked for."""

    def __init__(self, *found, error=""):
        self.found = [
            Credential(Login(name), Source("secret", f"uid-{name}", "ns", name) if name != "node" else None)
            for name in found
        ]
        self.error = error
        self.looked = 0

    async def lookup(self, pod, image, secrets):
        self.looked += 1
        if self.error:
            raise ValueError(self.error)
        return self.found


@pytest.fixture
def runtime():
    return Registry()


def images(runtime, told, *logins, pulled=None, metrics=None, error="", **settings):
    clock, metrics = LoopClock(), metrics or Metrics()
    pulls = Pulls(runtime, clock, told, told, ContainerSettings(**settings), metrics)
    made = Images(runtime, told, metrics, pulls, Logins(*logins, error=error), pulled)
    made.pulls = pulls
    return made


async def book(tmp_path, runtime, policy="NeverVerifyPreloadedImages"):
    made = PulledImages(RecordStore(tmp_path / "image_manager"), Policy(policy), LoopClock(), Metrics())
    await made.start(runtime.list_images)
    return made


def files(tmp_path, kind):
    return len(list((tmp_path / "image_manager" / kind).iterdir()))


def need(image="img", policy="IfNotPresent", uid="u"):
    pod = Pod(metadata=ObjectMeta(namespace="ns", name="p", uid=uid))
    return ImageNeed(pod, "spec.containers{c}", image, policy)


async def refused(made, *args, **more):
    with pytest.raises(StartError) as caught:
        await made.ensure(need(*args, **more), SANDBOX)
    return caught.value.reason, caught.value.message


async def test_a_pull_and_the_next_start(runtime, told):
    made = images(runtime, told)
    ensured = await made.ensure(need(), SANDBOX)
    assert ensured.info is not None
    assert [event[1] for event in told.events] == ["Pulling", "Pulled"]
    assert told.events[1][2] == (
        'Successfully pulled image "img" in 1.5s (1.5s including waiting). '
        f"Image size: {ensured.info.size} bytes."
    )
    again = await made.ensure(need(), SANDBOX)
    assert again.info == ensured.info
    assert told.events[2][2] == 'Container image "img" already present on machine'
    assert runtime.calls["PullImage"] == 1
    await made.ensure(need(policy="Always"), SANDBOX)
    assert runtime.calls["PullImage"] == 2


async def test_never(runtime, told):
    text = 'Container image "img" is not present with pull policy of Never'
    assert await refused(images(runtime, told), policy="Never") == ("ErrImageNeverPull", text)
    assert told.events == [("Warning", "ErrImageNeverPull", text, "spec.containers{c}")]


async def test_a_bad_name(runtime, told):
    reason, message = await refused(images(runtime, told), image="A B")
    assert reason == "InvalidImageName"
    assert message.startswith('Failed to apply default image tag "A B": couldn\'t parse image name "A B": ')


async def test_an_inspection_that_fails(runtime, told):
    runtime.inject(Fault("ImageStatus", Code.Unknown))
    assert (await refused(images(runtime, told)))[0] == "ImageInspectError"


async def test_back_off_and_its_end(runtime, told):
    made = images(runtime, told)
    runtime.inject(Fault("PullImage", Code.NotFound, "no such", times=2))
    error = "rpc error: code = NotFound desc = no such"
    assert await refused(made) == ("ErrImagePull", error)
    assert told.events[-1][1:3] == ("Failed", f'Failed to pull image "img": {error}')
    waiting = f'Back-off pulling image "img": ErrImagePull: {error}'
    assert await refused(made) == ("ImagePullBackOff", waiting)
    assert told.events[-1][:3] == ("Normal", "BackOff", 'Back-off pulling image "img"')
    await asyncio.sleep(10)
    assert (await refused(made))[0] == "ErrImagePull"
    await asyncio.sleep(19)
    assert (await refused(made))[0] == "ImagePullBackOff"
    await asyncio.sleep(1)
    await made.ensure(need(), SANDBOX)


async def test_an_error_without_a_code_is_told_in_the_runtimes_words(runtime, told):
    runtime.inject(Fault("PullImage", Code.Unknown, "failed to pull and unpack"))
    assert await refused(images(runtime, told)) == ("ErrImagePull", "failed to pull and unpack")
    assert told.events[-1][1:3] == ("Failed", 'Failed to pull image "img": failed to pull and unpack')


async def test_pulls_wait_for_their_turn(runtime, told):
    async def all_at_once(made):
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(*(made.ensure(need(f"i{i}", "Always", f"u{i}"), SANDBOX) for i in range(4)))
        return loop.time() - began

    assert await all_at_once(images(runtime, told)) == pytest.approx(6)
    parallel = images(runtime, told, serialize_image_pulls=False, max_parallel_image_pulls=2)
    assert await all_at_once(parallel) == pytest.approx(3)
    assert await all_at_once(images(runtime, told, serialize_image_pulls=False)) == pytest.approx(1.5)


async def test_too_many_pulls_a_second(runtime, told):
    made = images(runtime, told, registry_pull_qps=1, registry_burst=1, serialize_image_pulls=False)
    first = asyncio.gather(made.ensure(need("a"), SANDBOX))
    await asyncio.sleep(0)
    assert await refused(made, "b", uid="v") == ("ErrImagePull", "pull QPS exceeded")
    await first


async def test_credentials_are_tried_one_after_the_other(runtime, told):
    runtime.users = ("c",)
    await images(runtime, told, "a", "b", "c", "d").ensure(need(), SANDBOX)
    assert runtime.tried == ["a", "b", "c"]
    assert told.texts[-1] == "img was pulled with the login of the secret ns/c, of 4 that were there"
    runtime.users = ("nobody",)
    refusal = await refused(images(runtime, told, "a", "b"), "other")
    assert refusal == ("ErrImagePull", "[unauthorized: a, unauthorized: b]")
    runtime.tried.clear()
    assert await refused(images(runtime, told), "third") == ("ErrImagePull", "unauthorized: ")
    assert runtime.tried == [""]


async def test_a_secret_that_cannot_be_read_is_named(runtime, told):
    made = images(runtime, told, error="image pull secret ns/a: it is not valid JSON")
    assert await refused(made) == ("ErrImagePull", "image pull secret ns/a: it is not valid JSON")
    assert runtime.tried == []


async def test_an_image_is_only_for_those_who_could_pull_it(runtime, told, tmp_path):
    records = await book(tmp_path, runtime)
    runtime.users = ("mine",)
    await images(runtime, told, "mine", pulled=records).ensure(need(), SANDBOX)
    assert (files(tmp_path, "pulling"), files(tmp_path, "pulled")) == (0, 1)
    await images(runtime, told, "mine", pulled=records).ensure(need(uid="v"), SANDBOX)
    assert told.events[-1][2] == (
        'Container image "img" already present on machine and can be accessed by the pod'
    )
    stranger = images(runtime, told, "theirs", pulled=records)
    assert await refused(stranger, uid="w") == ("ErrImagePull", "unauthorized: theirs")
    assert (await refused(stranger, uid="w"))[0] == "ImagePullBackOff"
    assert (await refused(stranger, policy="Never", uid="x"))[0] == "ErrImageNeverPull"
    assert "ImageVerification" in told.decisions
    runtime.users = ("mine", "theirs")
    await stranger.ensure(need(uid="y"), SANDBOX)
    before = len(runtime.tried)
    await stranger.ensure(need(uid="z"), SANDBOX)
    assert len(runtime.tried) == before


async def test_credentials_are_looked_up_once_and_only_if_needed(runtime, told, tmp_path):
    runtime.world.add_image("img")
    records = await book(tmp_path, runtime)
    made = images(runtime, told, "mine", pulled=records)
    await made.ensure(need(), SANDBOX)
    assert made._credentials.looked == 0
    await made.ensure(need("other"), SANDBOX)
    stranger = images(runtime, told, "theirs", pulled=records)
    await stranger.ensure(need("other"), SANDBOX)
    assert stranger._credentials.looked == 1


async def test_a_pull_that_is_given_up(runtime, told, tmp_path):
    made = images(runtime, told, "mine", pulled=await book(tmp_path, runtime), metrics=(metrics := Metrics()))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await made.ensure(need(), SANDBOX)
    # The runtime may have it all the same: it does not count as one that nobody pulled.
    assert files(tmp_path, "pulling") == 1
    assert made.pulls.under_way() == []
    assert 'pykubelet_image_pulls{state="pulling"} 0' in metrics.render().decode()
    await made.ensure(need(), SANDBOX)
    assert files(tmp_path, "pulling") == 0


async def test_pulls_that_go_on_can_be_seen(runtime, told):
    metrics = Metrics()
    made = images(runtime, told, metrics=metrics)
    both = asyncio.gather(made.ensure(need("a"), SANDBOX), made.ensure(need("b", uid="v"), SANDBOX))
    await asyncio.sleep(1)
    first, second = made.pulls.under_way()
    assert (first.image, first.asked, first.began) == ("a:latest", 0, 0)
    assert (second.need.image, second.began) == ("b", None)
    assert made.pulls.under_way("v") == [second]
    text = metrics.render().decode()
    assert 'pykubelet_image_pulls{state="waiting"} 1' in text
    assert 'pykubelet_image_pulls{state="pulling"} 1' in text
    await both
    assert made.pulls.under_way() == []


async def test_what_is_counted(runtime, told):
    metrics = Metrics()
    made = images(runtime, told, metrics=metrics)
    await refused(made, "no such", "Always")
    await refused(made, policy="Never")
    await made.ensure(need(), SANDBOX)
    await made.ensure(need(), SANDBOX)
    await made.ensure(need(policy="Always"), SANDBOX)
    text = metrics.render().decode()
    name = "kubelet_image_manager_ensure_image_requests_total"
    for policy, present, required in (
        ("always", "unknown", "unknown"),
        ("never", "false", "unknown"),
        ("ifnotpresent", "false", "true"),
        ("ifnotpresent", "true", "false"),
        ("always", "unknown", "true"),
    ):
        labels = f'present_locally="{present}",pull_policy="{policy}",pull_required="{required}"'
        assert f"{name}{{{labels}}} 1" in text
    label = size_label((await runtime.image_status("img")).size)
    assert f'kubelet_image_pull_duration_seconds_count{{image_size_in_bytes="{label}"}} 2' in text


@pytest.mark.parametrize(
    ("size", "label"),
    [
        (0, "N/A"),
        (1, "0-10MB"),
        (10 << 20, "0-10MB"),
        ((10 << 20) + 1, "10MB-100MB"),
        (3 << 30, "1GB-5GB"),
        (101 << 30, "GT100GB"),
    ],
)
def test_sizes(size, label):
    assert size_label(size) == label


def test_errors_that_a_runtime_names():
    assert pull_failure("i", "RegistryUnavailable: down") == (
        "RegistryUnavailable",
        "image pull failed for i because the registry is unavailable: down",
    )
    assert pull_failure("i", "SignatureValidationFailed")[0] == "SignatureValidationFailed"


def test_bucket():
    bucket = TokenBucket(1, 2)
    assert [bucket.take(t) for t in (0, 0, 0, 0.5, 1, 10, 10, 10)] == [
        True, True, False, False, True, True, True, False,
    ]  # fmt: skip
    assert all(TokenBucket(0, 0).take(0) for _ in range(9))


def test_back_off_doubles_and_forgets():
    backoff = PullBackoff(10, 300)
    now, waits = 0.0, []
    for _ in range(7):
        waits.append(backoff.failed("k", now, "e"))
        now += waits[-1]
        assert backoff.waits("k", now - 0.1) == "e"
        assert backoff.waits("k", now) is None
    assert waits == [10, 20, 40, 80, 160, 300, 300]
    assert backoff.failed("k", now + 601, "e") == 10
    backoff.forget_stale(now + 601 + 601)
    assert len(backoff) == 0
