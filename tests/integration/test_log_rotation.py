"""Logs of real containers under rotation: nothing is lost, in the files and for who follows."""

import asyncio
import gzip
import os
from contextlib import aclosing

import pytest
import pytest_asyncio
from tests.integration.killed_node import container
from tests.integration.node import pod, running_node

from pykubelet.base.tasks import TaskOwner
from pykubelet.containers.log_lines import LogDecoder, LogOptions
from pykubelet.server.doors import LogRequest

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROTATIONS, STEP = 21, 2000
#: Waits for a word, then writes numbered lines as fast as it can until it is told to stop.
FLOOD = f"""
trap 'exit 0' TERM
filler=$(head -c 200 /dev/zero | tr '\\0' x)
until [ -e /tmp/go ]; do sleep 0.05; done
at=1
until [ -e /tmp/stop ]; do
  seq -s " $filler
" $at $((at + {STEP} - 1))
  at=$((at + {STEP}))
done
echo 0
while :; do sleep 0.1; done
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(containerd, tmp_path_factory):
    rotation = {"containerLogMaxSize": "1Mi", "containerLogMaxFiles": 400, "containerLogMaxWorkers": 2}
    async with running_node(tmp_path_factory.mktemp("rotation"), containerd, "rot", **rotation) as made:
        yield made


def log_dir(node, name):
    known = node.pod(name).metadata
    return node.layout.container_log("default", known.name, known.uid, "app", 0).parent


def unpacked(directory):
    """Files that were set aside and are not compressed."""
    return [path.name for path in directory.iterdir() if path.name != "0.log" and path.suffix != ".gz"]


class Numbers:
    """Takes what the container wrote and tells how many lines came, in order and none twice."""

    def __init__(self):
        self.seen = 0
        #: Lines of which the runtime put the beginning and the rest into two files.
        self.torn = 0
        self.ended = False
        self._begun = b""

    def take(self, data):
        for line in data.split(b"\n"):
            number, _, _ = line.partition(b" ")
            number = self._begun + number
            if number.strip(b"x") == b"":
                # The rest of a line that was torn after its number.
                self.torn += line != b""
            elif int(number) == self.seen + 1:
                self.torn += self._begun != b""
                self.seen, self._begun = self.seen + 1, b""
            elif number == b"0":
                self.ended = True
            else:
                assert str(self.seen + 1).encode().startswith(number), (self.seen, line[:40], self._begun)
                self._begun = number


def written(directory):
    """The numbers that the container wrote, from all files of its log, oldest first."""
    found = Numbers()
    for path in sorted(directory.iterdir(), key=lambda path: (path.name == "0.log", path.name)):
        decoder = LogDecoder(LogOptions())
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        found.take(decoder.feed(data) + decoder.finish())
    return found


async def test_a_flood_loses_no_line_in_the_files_nor_for_who_follows(node):
    node.apply(pod("flood", container("app", FLOOD)))
    await node.until(lambda: node.runs("flood"))
    followed = Numbers()

    async def follow():
        api = node.kubelet.api
        flood = api.pod("default", node.full("flood"))
        async with aclosing(await api.logs(flood, "app", LogRequest(follow=True))) as blocks:
            async for block in blocks:
                followed.take(block)

    tasks = TaskOwner("test")
    follower = tasks.spawn("follow", follow())
    directory = log_dir(node, "flood")
    try:
        await node.exec("flood", "touch /tmp/go")
        await node.until(lambda: len(os.listdir(directory)) > ROTATIONS, 30, "flood")
        await node.exec("flood", "touch /tmp/stop")
        await node.until(lambda: followed.ended or follower.done(), 20, "flood")
        await node.until(lambda: len(unpacked(directory)) <= 1, 30)
    finally:
        follower.cancel()
        await asyncio.wait({follower})
    inside = await asyncio.to_thread(written, directory)
    assert (followed.seen, followed.torn) == (inside.seen, inside.torn)
    assert inside.ended
    assert inside.seen % STEP == 0 < inside.seen
    # containerd 1.6 ends the line that it is at when it opens a new file.
    assert inside.torn < len(os.listdir(directory))
    told = node.decisions("flood", "LogRotated")
    assert "containerLogMaxSize of 1048576" in told[0].cause
    await node.delete("flood")
    assert not directory.exists()
