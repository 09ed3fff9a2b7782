"""Intents before pulls, records after them, and what follows for those who come later."""

import asyncio
from datetime import timedelta

import pytest

from pykubelet.base.clock import LoopClock
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner
from pykubelet.containers.credentials.docker_config import Login
from pykubelet.containers.credentials.keyring import Credential, Source
from pykubelet.containers.doors import PullRecords
from pykubelet.containers.pulled import Policy, PulledImages, RecordStore
from pykubelet.cri.errors import Code, CriError
from pykubelet.cri.types import Image

pytestmark = pytest.mark.looptime(start=0)


def secret(name="s", user="u"):
    return Credential(Login(user, "p"), Source("secret", f"uid-{name}", "ns", name))


def image(ref="sha256:1", *names):
    return Image(ref, names, (), 1)


class Book:
    """The book of pulls, and the daemon's restarts."""

    def __init__(self, root):
        self.root = root
        self.clock = LoopClock()
        self.metrics = Metrics()
        self.images = []
        self.policy = Policy("NeverVerifyPreloadedImages")

    async def list_images(self):
        if self.images is None:
            raise CriError(Code.Unavailable, "ListImages", "gone")
        return self.images

    async def start(self):
        store = RecordStore(self.root / "image_manager")
        self.pulled = PulledImages(store, self.policy, self.clock, self.metrics)
        await self.pulled.start(self.list_images)
        return self.pulled

    async def must_pull(self, image, ref, *credentials):
        async def mine():
            return credentials

        return await self.pulled.must_pull(image, ref, mine)

    def files(self, kind):
        return len(list((self.root / "image_manager" / kind).iterdir()))


@pytest.fixture
def book(tmp_path):
    return Book(tmp_path)


async def test_a_pull_with_a_secret(book):
    await book.start()
    pulled: PullRecords = book.pulled
    await book.pulled.begin("img:v1")
    assert (book.files("pulling"), book.files("pulled")) == (1, 0)
    await book.pulled.pulled("img:v1", "sha256:1", secret())
    assert (book.files("pulling"), book.files("pulled")) == (0, 1)
    assert not await book.must_pull("img:v1", "sha256:1", secret())
    assert await book.must_pull("img:v1", "sha256:1", secret("other", "v"))
    assert await book.must_pull("img:v1", "sha256:1")
    assert await book.must_pull("alias/img:v1", "sha256:1", secret())
    assert not await book.must_pull("never-pulled", "sha256:2")
    text = book.metrics.render().decode()
    for result, count in (
        ("credentialRecordFound", 1),
        ("mustAuthenticate", 3),
        ("credentialPolicyAllowed", 1),
    ):
        assert f'kubelet_imagemanager_image_mustpull_checks_total{{result="{result}"}} {count}' in text
    assert "kubelet_imagemanager_ondisk_pulledrecords 1" in text
    # The same login in another secret: it is known from then on by its own name.
    assert not await book.must_pull("img", "sha256:1", secret("copy"))
    await book.start()
    assert not await book.must_pull("img", "sha256:1", secret("copy", "new password"))
    await pulled.prune({"sha256:1"}, book.clock.now() + timedelta(days=1))
    assert book.files("pulled") == 1


async def test_a_pull_with_no_secret_is_for_everyone(book):
    await book.start()
    await book.pulled.begin("img")
    await book.pulled.pulled("img", "sha256:1", None)

    async def never():
        raise AssertionError("the pod's credentials do not matter")

    assert not await book.pulled.must_pull("img", "sha256:1", never)


async def test_two_pulls_of_one_image(book):
    await book.start()
    await book.pulled.begin("img")
    await book.pulled.begin("img")
    await book.pulled.failed("img")
    assert book.files("pulling") == 1
    assert await book.must_pull("img", "sha256:1")
    assert await book.must_pull("docker.io/library/img:latest", "sha256:1")
    await book.pulled.failed("img")
    assert book.files("pulling") == 0
    assert not await book.must_pull("img", "sha256:1")


async def test_a_pull_that_ends_while_another_begins_leaves_its_intent(book):
    await book.start()
    await book.pulled.begin("img")
    owner = TaskOwner("test")
    second = owner.spawn("second", book.pulled.begin("img"))
    await asyncio.sleep(0)
    await book.pulled.failed("img")
    await second
    assert book.files("pulling") == 1
    await owner.close()


async def test_a_runtime_that_does_not_tell_its_images_at_the_start(book, caplog):
    await book.start()
    await book.pulled.begin("img")
    book.images = None
    await book.start()
    assert "settled at the next one" in caplog.text
    assert await book.must_pull("img", "sha256:1")
    assert book.files("pulling") == 1


async def test_a_kubelet_that_ended_during_a_pull(book):
    await book.start()
    for name in ("img", "docker.io/library/there:v1", "gone"):
        await book.pulled.begin(name)
    book.pulled.given_up("img")
    book.images = [
        image("sha256:1", "docker.io/library/img:latest"),
        image("sha256:2", "docker.io/library/there:v1"),
    ]
    await book.start()
    assert (book.files("pulling"), book.files("pulled")) == (1, 2)
    # It is not known with which secret it came: who wants it must show one.
    assert await book.must_pull("img", "sha256:1", secret())
    await book.pulled.begin("img")
    await book.pulled.pulled("img", "sha256:1", secret())
    assert not await book.must_pull("img", "sha256:1", secret())


async def test_a_record_that_cannot_be_read_lets_nobody_in(book):
    await book.start()
    await book.pulled.begin("img")
    await book.pulled.pulled("img", "sha256:1", None)
    [path] = (book.root / "image_manager" / "pulled").iterdir()
    path.write_text("{")
    await book.start()
    assert await book.must_pull("img", "sha256:1", secret())
    assert 'checks_total{result="error"} 1' in book.metrics.render().decode()


async def test_what_nobody_waits_for_is_written_all_the_same(book):
    await book.start()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await book.pulled.begin("img")
    await book.pulled.begin("other")
    assert book.files("pulling") == 2
    await book.pulled.stop()


async def test_a_pull_that_cannot_be_recorded_keeps_its_intent(book, caplog):
    await book.start()
    await book.pulled.begin("img")
    (book.root / "image_manager" / "pulled").rmdir()
    (book.root / "image_manager" / "pulled").touch()
    await book.pulled.pulled("img", "sha256:1", secret())
    await book.pulled.begin("img")
    await book.pulled.failed("img")
    assert book.files("pulling") == 1
    assert await book.must_pull("img", "sha256:1", secret())
    (book.root / "image_manager" / "pulling" / "x").touch()
    assert "cannot be recorded" in caplog.text


async def test_images_that_are_gone_are_forgotten(book):
    await book.start()
    for number in (1, 2):
        await book.pulled.begin("img")
        await book.pulled.pulled("img", f"sha256:{number}", None)
    await asyncio.sleep(10)
    began = book.clock.now()
    await book.pulled.begin("img")
    await book.pulled.pulled("img", "sha256:3", None)
    await book.pulled.prune({"sha256:1"}, began)
    assert book.files("pulled") == 2
    assert not await book.must_pull("img", "sha256:2")
    assert await book.must_pull("new", "sha256:3")
