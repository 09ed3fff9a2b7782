"""Pushed manifests: what is taken, what is kept on disk, what a new daemon makes of it."""

import asyncio
import os
from contextlib import asynccontextmanager

import pytest
from tests.pods.sources.test_file import manifest
from tests.pods.sources.test_http import Told

from pykubelet.api.machinery import StatusError
from pykubelet.pods.sources import PushSource
from pykubelet.pods.sources.push import MAX_PUSHED, check_name


class Pushed:
    """A source on a directory, and the last set that it sent."""

    def __init__(self, directory):
        self.heard = Told()
        self.directory = directory
        self.source = PushSource(directory, "node1", self.heard, self.heard)
        self.sets = []

    async def take(self, pods):
        self.sets.append({p.metadata.name: p.spec.containers[0].image for p in pods})

    async def put(self, name, text, user="jane"):
        return await self.source.put(name, text.encode(), user)

    async def refused(self, name, text):
        with pytest.raises(StatusError) as caught:
            await self.put(name, text)
        status = caught.value.status
        return status.code, status.reason, [cause.field for cause in status.details.causes], status.message

    async def until(self, wanted):
        async with asyncio.timeout(10):
            while not self.sets or self.sets[-1] != wanted:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def pushing(directory):
    made = Pushed(directory)
    await made.source.load()
    task = asyncio.get_running_loop().create_task(made.source.run(made.take))
    try:
        yield made
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await made.source.close()


async def test_manifests_are_taken_replaced_deleted_and_outlive_the_daemon(tmp_path):
    directory = tmp_path / "pushed"
    async with pushing(directory) as pushed:
        await pushed.until({})
        view, new = await pushed.put("web", manifest("a") + "---\n" + manifest("b"))
        assert new and [pod.name for pod in view.pods] == ["a-node1", "b-node1"]
        assert len(view.pods[0].uid) == 32
        await pushed.until({"a-node1": "i:1", "b-node1": "i:1"})
        _, new = await pushed.put("web", manifest("a", "i:2"))
        assert not new
        await pushed.put("other", manifest("c"))
        await pushed.until({"a-node1": "i:2", "c-node1": "i:1"})
        files = list(directory.iterdir())
        assert [os.stat(path).st_mode & 0o777 for path in (directory, *files)] == [0o700, 0o600, 0o600]
        first = pushed.source.manifests()
        facts = [facts["cause"] for _, facts in pushed.heard.of("ManifestPushed")]
        assert facts == ["asked for by jane"] * 3
    async with pushing(directory) as pushed:
        await pushed.until({"a-node1": "i:2", "c-node1": "i:1"})
        assert pushed.source.manifests() == first
        assert await pushed.source.read("web") == manifest("a", "i:2").encode()
        await pushed.source.delete("web", "joe")
        await pushed.until({"c-node1": "i:1"})
        assert [path.name for path in directory.iterdir()] == ["other.yaml"]
        for gone in (pushed.source.delete("web", "joe"), pushed.source.read("web")):
            with pytest.raises(StatusError, match='manifests "web" not found'):
                await gone


@pytest.mark.parametrize(
    ("text", "code", "fields"),
    [
        ("kind: [", 400, []),
        ("", 400, []),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: x}\n", 400, ["kind"]),
        (manifest(extra=", ports: 7"), 400, ["spec.containers[0].ports"]),
        (manifest("Bad"), 422, ["metadata.name"]),
        (manifest(image=""), 422, ["spec.containers[0].image"]),
        (manifest("ok") + "---\n" + manifest(image=""), 422, ["spec.containers[0].image"]),
        (
            manifest(extra=", envFrom: [{secretRef: {name: x}}]"),
            422,
            ["spec.containers[a].env"],
        ),
        (manifest() + "---\n" + manifest(), 422, ["metadata.name"]),
    ],
)
async def test_what_is_no_good_is_refused_with_its_field_and_changes_nothing(tmp_path, text, code, fields):
    async with pushing(tmp_path / "pushed") as pushed:
        await pushed.put("web", manifest("good"))
        found = await pushed.refused("web", text)
        assert found[0] == code
        assert set(fields) <= set(found[2]), found
        assert await pushed.source.read("web") == manifest("good").encode()
        await pushed.until({"good-node1": "i:1"})


async def test_a_pod_belongs_to_one_manifest(tmp_path):
    async with pushing(tmp_path / "pushed") as pushed:
        await pushed.put("one", manifest("web"))
        code, reason, _, message = await pushed.refused("two", manifest("web", "i:2"))
        assert (code, reason) == (409, "Conflict")
        assert message == 'pod name "web-node1_default" is that of manifest "one"'
        await pushed.source.delete("one", "jane")
        await pushed.put("two", manifest("web", "i:2"))


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "A", "a_b", "-a", "a\0b", "x" * 201, "é", ".a"]
)
async def test_names_stay_in_the_directory(tmp_path, name):
    async with pushing(tmp_path / "pushed") as pushed:
        with pytest.raises(StatusError) as caught:
            await pushed.put(name, manifest())
        assert caught.value.status.code == 400
        for asked in (pushed.source.read(name), pushed.source.delete(name, "x")):
            with pytest.raises(StatusError):
                await asked
        assert [path.name for path in tmp_path.rglob("*")] == ["pushed"]
    check_name("web.example-1")


async def test_what_cannot_be_read_is_told_and_passed_over(tmp_path):
    directory = tmp_path / "pushed"
    directory.mkdir(mode=0o755)
    (directory / "good.yaml").write_text(manifest("good"))
    (directory / "half.yaml").write_text(manifest("kept") + "---\n" + manifest(image=""))
    (directory / "torn.yaml").write_text(manifest()[:30])
    (directory / "big.yaml").write_bytes(b"#" * (MAX_PUSHED + 1))
    (directory / "link.yaml").symlink_to(directory / "good.yaml")
    (directory / "dir.yaml").mkdir()
    os.mkfifo(directory / "pipe.yaml")
    (directory / "Strange.yaml").write_text(manifest("strange"))
    (directory / ".torn.yaml.0123abcd").write_text("left by a daemon that was killed")
    async with pushing(directory) as pushed:
        await pushed.until({"good-node1": "i:1", "kept-node1": "i:1"})
        problems = {view.name for view in pushed.source.manifests() if view.problems}
        assert problems == {"half", "torn", "big", "link", "dir", "pipe"}
        told = [text for _, _, text in pushed.heard.node_events]
        assert len(told) == 6 and any('pushed manifest "torn"' in text for text in told)
        assert not (directory / ".torn.yaml.0123abcd").exists()
        assert os.stat(directory).st_mode & 0o777 == 0o700
        # What is broken can be replaced or deleted.
        await pushed.put("torn", manifest("torn"))
        await pushed.source.delete("big", "x")
        assert (
            "torn-node1" in pushed.sets[-1]
            or await pushed.until({"good-node1": "i:1", "kept-node1": "i:1", "torn-node1": "i:1"}) is None
        )


async def test_a_disk_that_refuses_is_an_error_of_that_request_alone(tmp_path, monkeypatch):
    directory = tmp_path / "pushed"
    async with pushing(directory) as pushed:
        await pushed.put("web", manifest("good"))

        def full(*_args, **_more):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("pykubelet.pods.sources.push.write_atomic", full)
        with pytest.raises(StatusError, match="No space left on device") as caught:
            await pushed.put("web", manifest("new"))
        assert caught.value.status.code == 500
        assert await pushed.source.read("web") == manifest("good").encode()


async def test_a_caller_who_goes_away_leaves_no_half(tmp_path):
    async with pushing(tmp_path / "pushed") as pushed:
        async with pushed.source._writing:
            asking = asyncio.get_running_loop().create_task(pushed.put("web", manifest()))
            while not pushed.source._tasks.tasks:
                await asyncio.sleep(0.01)
            asking.cancel()
        await pushed.until({"web-node1": "i:1"})
        assert await pushed.source.read("web") == manifest().encode()


async def test_there_is_a_limit_to_their_number(tmp_path, monkeypatch):
    monkeypatch.setattr("pykubelet.pods.sources.push._MAX_MANIFESTS", 1)
    async with pushing(tmp_path / "pushed") as pushed:
        await pushed.put("one", manifest("a"))
        with pytest.raises(StatusError, match="there are 1 manifests already"):
            await pushed.put("two", manifest("b"))
        await pushed.put("one", manifest("b"))


async def test_fields_that_nobody_knows_are_warned_of(tmp_path):
    async with pushing(tmp_path / "pushed") as pushed:
        view, _ = await pushed.put("web", manifest(extra=", imagePullPolicie: Always"))
        assert view.warnings == ['unknown field "spec.containers[0].imagePullPolicie"']
        assert len(pushed.heard.pod_events) == 1
