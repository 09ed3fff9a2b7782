"""How volumes lie in containers: propagation both ways, read-only and what lies below, devices, sub paths."""

import asyncio
import os
import stat
from pathlib import Path

import pytest
import pytest_asyncio
from tests.integration.killed_node import container
from tests.integration.node import pod, running_node

from pykubelet.linux import mountinfo, mounts, syscalls

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Area:
    """A directory on a shared tmpfs of its own."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))
        self.path.mkdir()
        syscalls.mount("tmpfs", str(self.path), "tmpfs", 0)
        # Not a peer of whatever this directory lies on.
        mounts.make_private(str(self.path))
        mounts.make_shared(str(self.path))

    def directory(self, name: str) -> Path:
        (self.path / name).mkdir()
        return self.path / name

    def mount(self, name: str) -> None:
        """A file system with the file ``file`` at *name*."""
        mounts.mount_tmpfs(str(self.directory(name)))
        (self.path / name / "file").write_text("x\n")

    def close(self) -> None:
        mounts.unmount_below(str(self.path))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(containerd, tmp_path_factory):
    async with running_node(tmp_path_factory.mktemp("mounts"), containerd) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def area(node):
    made = await asyncio.to_thread(Area, node.base / "area")
    yield made
    await node.drain()
    await asyncio.to_thread(made.close)


def host(name, path):
    return {"name": name, "hostPath": {"path": str(path)}}


def at(path, name="area", **fields):
    return {"name": name, "mountPath": path, **fields}


async def test_propagation_both_ways(node, area):
    modes = {"none": "None", "down": "HostToContainer", "both": "Bidirectional"}
    containers = [
        container(
            name,
            volumeMounts=[at("/area", mountPropagation=mode), at("/own", "own", mountPropagation=mode)],
            securityContext={"privileged": True},
        )
        for name, mode in modes.items()
    ]
    node.apply(pod("spread", *containers, volumes=[host("area", area.path), {"name": "own", "emptyDir": {}}]))
    await node.until(lambda: node.ready("spread"))

    async def seen(path):
        found = {name: await node.exec("spread", f"ls {path} 2>&1; true", name) for name in modes}
        return {name for name, listing in found.items() if "file" in listing.split()}

    await asyncio.to_thread(area.mount, "from-node")
    assert await seen("/area/from-node") == {"down", "both"}

    def mount_at(path):
        return f"mkdir -p {path} && mount -t tmpfs none {path} && touch {path}/file"

    for name in modes:
        await node.exec("spread", mount_at(f"/area/from-{name}"), name)
    assert await seen("/area/from-both") == {"down", "both"}
    assert await seen("/area/from-down") == {"down"}
    assert await seen("/area/from-none") == {"none"}
    on_node = {name for name in modes if (area.path / f"from-{name}" / "file").exists()}
    assert on_node == {"both"}
    # A mount that a container leaves in a volume of the kubelet's goes with the pod.
    await node.exec("spread", mount_at("/own/inner"), "both")
    own = node.layout.pod_volume(node.uid("spread"), "kubernetes.io/empty-dir", "own")
    assert (own / "inner" / "file").exists()
    await node.delete("spread")
    assert not own.exists()


async def test_read_only_with_and_without_what_lies_below(node, area):
    await asyncio.to_thread(area.mount, "below")
    modes = [None, "Disabled", "IfPossible", "Enabled"]
    handlers = (await node.cri.status()).handlers
    supported = any(handler.recursive_read_only_mounts for handler in handlers if not handler.name)
    mounted = [
        at(f"/{mode}", readOnly=True, **({"recursiveReadOnly": mode} if mode else {}))
        for mode in (modes if supported else modes[:-1])
    ]
    mounted.append(at("/sub", subPath="below", readOnly=True))
    node.apply(pod("reader", container("app", volumeMounts=mounted), volumes=[host("area", area.path)]))
    await node.until(lambda: node.ready("reader"))

    async def may_write(path):
        return "Read-only" not in await node.exec("reader", f"touch {path}/new 2>&1; true")

    assert [await may_write(f"/{mode}") for mode in modes[: len(mounted) - 1]] == [False] * (len(mounted) - 1)
    assert not await may_write("/sub")
    assert await may_write("/None/below")
    assert await may_write("/Disabled/below")
    assert await may_write("/IfPossible/below") == (not supported)
    if supported:
        assert not await may_write("/Enabled/below")
    await node.delete("reader")


async def test_devices_and_files_as_volumes_and_below_dev(node, area):
    devices = await asyncio.to_thread(area.directory, "devices")
    os.mknod(devices / "void", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.chmod(devices / "void", 0o666)
    (devices / "plain").write_text("plain\n")
    node.apply(
        pod(
            "devices",
            container(
                "app",
                volumeMounts=[
                    at("/dev/void", "devices", subPath="void"),
                    at("/dev/plain", "devices", subPath="plain", readOnly=True),
                    at("/dev/scratch", "scratch"),
                    at("/data/null", "null"),
                ],
            ),
            volumes=[
                host("devices", devices),
                {"name": "scratch", "emptyDir": {}},
                {"name": "null", "hostPath": {"path": "/dev/null", "type": "CharDevice"}},
            ],
        )
    )
    await node.until(lambda: node.ready("devices"))
    kinds = "stat -c '%F' /dev/void /dev/plain /dev/scratch /data/null /dev/null"
    assert (await node.exec("devices", kinds)).splitlines() == [
        "character special file",
        "regular file",
        "directory",
        "character special file",
        "character special file",
    ]
    await node.exec("devices", "echo x > /dev/void && echo x > /data/null && touch /dev/scratch/x")
    script = "cat /dev/void /data/null /dev/plain"
    assert await node.exec("devices", script) == "plain"
    assert "Read-only" in await node.exec("devices", "{ echo y > /dev/plain; } 2>&1; true")
    await node.delete("devices")


async def test_a_container_that_exchanges_its_sub_path_never_leads_another_out(node, area):
    """CVE-2017-1002101 and CVE-2021-25741, with a real container that swaps while others start."""
    place = await asyncio.to_thread(area.directory, "place")
    (area.path / "secret").write_text("secret\n")
    swap = (
        "mkdir -p /v/sub; touch /v/sub/right; while :; do "
        f"mv /v/sub /v/kept; ln -s {area.path} /v/sub; rm /v/sub; mv /v/kept /v/sub; done"
    )
    lookers = ("looker1", "looker2", "looker3")
    look = "ls /sub > /dev/termination-log; exit 1"
    looker = container("looker", look, volumeMounts=[at("/sub", "v", subPath="sub")])
    node.apply(
        pod(
            "swapper",
            container("app", swap, volumeMounts=[at("/v", "v")], resources={"limits": {"cpu": "500m"}}),
            volumes=[host("v", place)],
        ),
        *(pod(name, looker, volumes=[host("v", place)], restartPolicy="Never") for name in lookers),
    )
    for name in lookers:
        await node.until(lambda name=name: settled(node, name))
        ended = node.terminated(name, "looker")
        assert ended is None or "secret" not in (ended.message or "")
    table = await asyncio.to_thread(mountinfo.read)
    tops = {m.root for m in table if "/volume-subpaths/v/looker/" in m.mount_point}
    assert all(root.startswith("/place") for root in tops), tops
    await node.delete("swapper", *lookers)


def settled(node, name):
    """Whether the container has run, or was refused."""
    waiting = node.waiting(name, "looker")
    return node.terminated(name, "looker") or (waiting is not None and waiting.message)
