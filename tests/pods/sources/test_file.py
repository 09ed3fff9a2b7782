import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from tests.pods.model import instance, observed_pod, sandbox

from pykubelet.api.core import Container
from pykubelet.base.journal import NullJournal
from pykubelet.pods.sources import FileSource


def manifest(name="web", image="i:1", extra=""):
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n"
        f"spec:\n  containers: [{{name: a, image: '{image}'{extra}}}]\n"
    )


class Heard(NullJournal):
    def __init__(self):
        self.node_events = []
        self.pod_events = []
        self.records = []

    def record(self, decision, text, **facts):
        self.records.append((decision, facts.get("file"), facts.get("field")))

    def node_event(self, kind, reason, message):
        self.node_events.append((kind, reason, message))

    def pod_event(self, pod, kind, reason, message, *, field_path=""):
        self.pod_events.append((pod.name, reason, message))


class Watched:
    def __init__(self, heard):
        self.heard = heard
        self.sets = []
        self.uids = []
        self._news = asyncio.Event()

    async def take(self, pods):
        self.sets.append({p.metadata.name: p.spec.containers[0].image for p in pods})
        self.uids.append({p.metadata.name: p.metadata.uid for p in pods})
        self._news.set()

    async def until(self, wanted):
        async with asyncio.timeout(10):
            while not self.sets or self.sets[-1] != wanted:
                self._news.clear()
                await self._news.wait()

    async def event(self, part):
        async with asyncio.timeout(10):
            while not any(part in event[2] for event in self.heard.node_events + self.heard.pod_events):
                await asyncio.sleep(0.01)


@asynccontextmanager
async def watching(path, period=60.0, **more):
    heard = Heard()
    watched = Watched(heard)
    source = FileSource(path, "node1", watched.take, heard, heard, period=period, **more)
    task = asyncio.get_running_loop().create_task(source.run())
    try:
        yield watched
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def path(tmp_path):
    directory = tmp_path / "manifests"
    directory.mkdir()
    return directory


async def test_files_come_change_and_go(path):
    (path / "b.yaml").write_text(manifest("b"))
    (path / "a.json").write_text(
        '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"a","image":"i"}]}}'
    )
    (path / ".hidden.yaml").write_text(manifest("hidden"))
    (path / "sub").mkdir()
    async with watching(path) as watched:
        await watched.until({"a-node1": "i", "b-node1": "i:1"})
        assert list(watched.sets[-1]) == ["a-node1", "b-node1"]
        (path / "c.yaml").write_text(manifest("c"))
        await watched.until({"a-node1": "i", "b-node1": "i:1", "c-node1": "i:1"})
        (path / "c.yaml").write_text(manifest("c", "i:2"))
        await watched.until({"a-node1": "i", "b-node1": "i:1", "c-node1": "i:2"})
        (path / "c.yaml").unlink()
        (path / "a.json").rename(path.parent / "a.json")
        await watched.until({"b-node1": "i:1"})
        (path / ".d").write_text(manifest("d"))
        os.rename(path / ".d", path / "d.yaml")
        await watched.until({"b-node1": "i:1", "d-node1": "i:1"})
        assert any("not recursing" in event[2] for event in watched.heard.node_events)


async def test_a_half_written_file_is_not_taken(path):
    async with watching(path) as watched:
        await watched.until({})
        with (path / "web.yaml").open("w") as file:
            for part in (manifest("web"), "  restartPolicy: Never\n"):
                file.write(part)
                file.flush()
                await asyncio.sleep(0.02)
        await watched.until({"web-node1": "i:1"})
        assert watched.sets == [{}, {"web-node1": "i:1"}]


async def test_a_broken_file_leaves_the_others_alone_and_is_told(path):
    (path / "good.yaml").write_text(manifest("good"))
    (path / "bad.yaml").write_text(manifest("Bad"))
    async with watching(path) as watched:
        await watched.until({"good-node1": "i:1"})
        await watched.event("bad.yaml")
        [event] = watched.heard.node_events
        assert event[:2] == ("Warning", "FailedValidation")
        assert 'metadata.name: Invalid value: "Bad-node1"' in event[2]
        assert ("ManifestRejected", str(path / "bad.yaml"), "metadata.name") in watched.heard.records
        (path / "bad.yaml").write_text(manifest("bad"))
        await watched.until({"good-node1": "i:1", "bad-node1": "i:1"})
        assert watched.heard.records[-1][0] == "ManifestRecovered"


async def test_a_file_that_breaks_keeps_its_pod_until_the_recheck(path):
    (path / "web.yaml").write_text(manifest("web"))
    async with watching(path, period=0.5) as watched:
        await watched.until({"web-node1": "i:1"})
        (path / "web.yaml").write_text("a: [")
        await watched.event("couldn't parse as pod")
        assert watched.sets[-1] == {"web-node1": "i:1"}
        await watched.until({})
        (path / "web.yaml").write_text(manifest("web"))
        await watched.until({"web-node1": "i:1"})


async def test_path_that_comes_later_and_goes(path):
    inner = path / "later"
    async with watching(inner) as watched:
        await watched.until({})
        await watched.event("path does not exist, ignoring")
        staged = path / "staged"
        staged.mkdir()
        (staged / "web.yaml").write_text(manifest("web"))
        staged.rename(inner)
        await watched.until({"web-node1": "i:1"})
        (inner / "web.yaml").unlink()
        inner.rmdir()
        await watched.until({})


async def test_single_file_replaced_by_rename(path):
    file = path / "web.yaml"
    file.write_text(manifest("web"))
    (path / "other.yaml").write_text(manifest("other"))
    async with watching(file) as watched:
        await watched.until({"web-node1": "i:1"})
        (path / "new").write_text(manifest("web", "i:2"))
        os.rename(path / "new", file)
        await watched.until({"web-node1": "i:2"})


async def test_a_path_that_cannot_be_read_deletes_nothing(path):
    file = path / "web.yaml"
    file.write_text(manifest("web"))
    os.mkfifo(path / "fifo")
    async with watching(file) as watched:
        await watched.until({"web-node1": "i:1"})
        os.rename(path / "fifo", file)
        await watched.event("path is not a directory or file")
        assert watched.sets == [{"web-node1": "i:1"}]


async def test_unknown_fields_warn_once_on_the_pod(path):
    (path / "web.yaml").write_text(manifest("web", extra=", foo: 1"))
    async with watching(path, period=0.05) as watched:
        await watched.until({"web-node1": "i:1"})
        await asyncio.sleep(0.2)
        [event] = watched.heard.pod_events
        assert event[:2] == ("web-node1", "FailedValidation")
        assert (
            event[2]
            == f'unknown field "spec.containers[0].foo" in manifest file "{path / "web.yaml"}", ignoring'
        )


async def test_a_manifest_beyond_the_limit(path):
    (path / "good.yaml").write_text(manifest("good"))
    (path / "huge.yaml").write_bytes(manifest("huge").encode() + b"#" * (10 * 1024 * 1024))
    async with watching(path) as watched:
        await watched.until({"good-node1": "i:1"})
        await watched.event("the read limit is reached")


async def test_links_in_and_recheck_without_events(path, tmp_path):
    target = tmp_path / "elsewhere.yaml"
    target.write_text(manifest("web"))
    (path / "web.yaml").symlink_to(target)
    async with watching(path, period=0.1) as watched:
        await watched.until({"web-node1": "i:1"})
        target.write_text(manifest("web", "i:2"))
        await watched.until({"web-node1": "i:2"})


def runs(uid, spec, name="web-node1", created_at=1 << 62):
    """A pod as another kubelet started it from a file, by default after every manifest here."""
    notes = {"kubernetes.io/config.source": "file", "kubernetes.io/config.hash": uid}
    box = replace(
        sandbox(), name=name, namespace="default", uid=uid, created_at=created_at, annotations=notes
    )
    return replace(observed_pod(instance("a", spec=spec), sandboxes=(box,)), uid=uid)


async def test_a_running_pod_keeps_its_uid_as_long_as_its_manifest_says_the_same(path):
    (path / "web.yaml").write_text(manifest())
    asked = []

    async def running():
        asked.append(1)
        return [runs("theirs", Container(name="a", image="i:1"))]

    async with watching(path, running=running) as watched:
        await watched.until({"web-node1": "i:1"})
        assert watched.uids == [{"web-node1": "theirs"}]
        assert ("StaticPodAdopted", None, None) in watched.heard.records
        # The same once more, with another stamp: nothing is sent, so the next set follows directly.
        (path / "web.yaml").write_text(manifest())
        (path / "b.yaml").write_text(manifest("b"))
        await watched.until({"b-node1": "i:1", "web-node1": "i:1"})
        assert watched.uids[-1]["web-node1"] == "theirs"
        (path / "web.yaml").write_text(manifest(image="i:2"))
        await watched.until({"b-node1": "i:1", "web-node1": "i:2"})
        assert watched.uids[-1]["web-node1"] != "theirs"
        # Only at the start is it asked what runs.
        assert asked == [1]


async def test_a_uid_that_the_manifest_gives_stays(path):
    (path / "web.yaml").write_text(manifest().replace("{name: web}", "{name: web, uid: given}"))

    async def running():
        return [runs("theirs", Container(name="a", image="i:1"))]

    async with watching(path, running=running) as watched:
        await watched.until({"web-node1": "i:1"})
        assert watched.uids == [{"web-node1": "given"}]


async def test_a_manifest_put_into_place_after_the_start_is_another_pod(path):
    (path / "web.yaml").write_text(manifest())
    # An old file that was moved here bears an old time of writing.
    os.utime(path / "web.yaml", ns=(1, 1))

    async def running():
        return [runs("theirs", Container(name="a", image="i:1"), created_at=1000)]

    async with watching(path, running=running) as watched:
        await watched.until({"web-node1": "i:1"})
        assert watched.uids[-1]["web-node1"] != "theirs"


async def test_problems_are_told_while_the_runtime_is_waited_for(path):
    (path / "web.yaml").write_text(manifest())
    (path / "bad.yaml").write_text("kind: Pod")
    shown = asyncio.Event()

    async def running():
        await shown.wait()
        return []

    async with watching(path, running=running) as watched:
        await watched.event("bad.yaml")
        assert watched.sets == []
        shown.set()
        await watched.until({"web-node1": "i:1"})


async def test_nothing_is_waited_for_without_manifests(path):
    async def running():
        raise AssertionError

    async with watching(path, running=running) as watched:
        await watched.until({})


async def test_the_wait_for_the_runtime_is_bounded(path, monkeypatch):
    monkeypatch.setattr("pykubelet.pods.sources.adopt._FIRST_LOOK", 0.05)
    (path / "web.yaml").write_text(manifest())
    async with watching(path, running=asyncio.Event().wait) as watched:
        await watched.until({"web-node1": "i:1"})
