"""Pull policies, limits, back-off, and what is told of them."""

import asyncio

import pytest

from pykubelet.base.clock import LoopClock
from pykubelet.base.errors import StartError
from pykubelet.base.journal import PodRef
from pykubelet.containers.images import ImageNeed, Images, pull_failure
from pykubelet.containers.pull_limits import PullBackoff, TokenBucket
from pykubelet.containers.settings import ContainerSettings
from pykubelet.cri.errors import Code
from pykubelet.cri.memory import MemoryRuntime
from pykubelet.cri.memory_faults import Fault
from pykubelet.rpc import cri_v1

pytestmark = pytest.mark.looptime(start=0)
SANDBOX = cri_v1.PodSandboxConfig()


@pytest.fixture
def runtime():
    return MemoryRuntime(LoopClock(), latency={"PullImage": 1.5})


def images(runtime, told, **settings):
    return Images(runtime, LoopClock(), told, told, ContainerSettings(**settings))


def need(image="img", policy="IfNotPresent", uid="u"):
    return ImageNeed(PodRef("ns", "p", uid), "spec.containers{c}", image, policy, {})


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
    assert told.events[2][2] == (
        'Container image "img" already present on machine and can be accessed by the pod'
    )
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
