"""Pods under several runtimes side by side, chosen by RuntimeClass; overhead; handlers that are not there."""

import asyncio
import re
from pathlib import Path

import pytest
import yaml
from tests.integration.joined import container_id, is_ready, phase
from tests.integration.killed_node import container
from tests.integration.node import pod

from pykubelet.linux.cgroup_discovery import discover

pytestmark = pytest.mark.asyncio(loop_scope="module")

V2 = discover().version == 2
CLASSES = "/apis/node.k8s.io/v1/runtimeclasses"
RESOURCES = {"requests": {"cpu": "100m"}, "limits": {"memory": "32Mi", "cpu": "200m"}}


async def a_class(joined, handler, **fields):
    """A RuntimeClass of that handler; its name."""
    name = f"{joined.name}-{handler}"
    await joined.cluster.create(CLASSES, {"metadata": {"name": name}, "handler": handler, **fields})
    joined.cluster.later(f"{CLASSES}/{name}")
    return name


def states(containerd, runtime):
    """IDs of the containers of which the runtime itself keeps a state."""
    root = next(one.root for one in containerd.runtimes if one.name == runtime)
    return {path.name for path in root.glob("k8s.io/*")}


async def pod_cgroup(joined, found, controller, *files):
    """The first of *files* that is there in the pod's cgroup."""
    top = "/sys/fs/cgroup" if V2 else f"/sys/fs/cgroup/{controller}"

    def read():
        uid = found["metadata"]["uid"]
        (directory,) = Path(top, joined.node.cgroup_root.lstrip("/")).glob(f"kubepods/*/pod{uid}")
        return next((directory / file).read_text().strip() for file in files if (directory / file).exists())

    return await asyncio.to_thread(read)


async def fits(joined, name):
    """Wait until the pod is ready; skip the test if its runtime is too old for the containerd."""

    def settled(found):
        return is_ready(found) or "unknown version specified" in joined.story(name)

    if not is_ready(await joined.until(name, settled)):
        pytest.skip("this crun refuses the OCI version that this containerd writes")


async def test_runtimes_side_by_side_and_their_overhead(joined, containerd):
    have = [one.name for one in containerd.runtimes]
    assert "crun" in have, "crun is not installed (see `make test`)"
    heavy = {"podFixed": {"cpu": "50m", "memory": "16Mi"}}
    for handler in have:
        name = await a_class(joined, handler, **({"overhead": heavy} if handler == "crun" else {}))
        app = container("app", "cat /proc/1/comm; exec sleep 1000", resources=RESOURCES)
        await joined.create(pod(f"by-{handler}", app, runtimeClassName=name))
    await fits(joined, "by-crun")
    found = dict(zip(have, await joined.ready(*(f"by-{handler}" for handler in have)), strict=True))
    for handler, shown in found.items():
        cid = container_id(shown)
        (sandbox,) = [
            s.id
            for s in await joined.node.cri.list_sandboxes()
            if s.labels["io.kubernetes.pod.uid"] == shown["metadata"]["uid"]
        ]
        for other in have:
            assert ({cid, sandbox} <= states(containerd, other)) is (other == handler)
            assert ({cid, sandbox} & states(containerd, other) == set()) is (other != handler)
        info = await joined.node.cri.sandbox_status(sandbox, verbose=True)
        assert info.runtime_handler == handler
        assert await joined.exec(shown, "echo works") == "works"
        # Seen from inside: crun hides a directory below a file system that has no room at all.
        hidden = await joined.exec(shown, "grep ' /sys/firmware ' /proc/self/mountinfo")
        assert ("size=0k" in hidden) is (handler == "crun"), (handler, hidden)
    # The pod's cgroup has room for the overhead, its container's has not.
    for handler, limit, shares, quota in (("runc", 32, 102, 20000), ("crun", 48, 153, 25000)):
        shown = found[handler]
        files = ("memory.limit_in_bytes", "memory.max")
        assert await pod_cgroup(joined, shown, "memory", *files) == str(limit << 20)
        if not V2:
            assert await pod_cgroup(joined, shown, "cpu", "cpu.shares") == str(shares)
            assert await pod_cgroup(joined, shown, "cpu", "cpu.cfs_quota_us") == str(quota)
            own = await joined.exec(shown, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes")
            assert own == str(32 << 20)


async def test_overhead_counts_when_a_pod_is_admitted(joined):
    name = await a_class(joined, "runc-heavy", overhead={"podFixed": {"memory": "10Ti"}})
    await joined.create(pod("heavy", container("app", "sleep 1000"), runtimeClassName=name))
    shown = await joined.until("heavy", lambda found: phase(found) == "Failed")
    assert shown["status"]["reason"] == "OutOfmemory"
    assert "Node didn't have enough resource: memory" in shown["status"]["message"]


async def test_a_handler_that_the_runtime_lacks_is_told_and_tried_again(joined):
    name = await a_class(joined, "none")
    await joined.create(pod("lost", container("app", "sleep 1000"), runtimeClassName=name))
    static = yaml.safe_dump(pod("absent", container("app", "sleep 1000"), runtimeClassName="not-there"))
    joined.node.apply(static)

    async def told(message):
        async with asyncio.timeout(30):
            while True:
                events = joined.node.kubelet.ground.journal.of_name(joined.cluster.namespace, "lost")
                events += joined.node.entries("absent")
                texts = [e.text for e in events if e.what == "FailedCreatePodSandBox"]
                if any(re.fullmatch(message, text) for text in texts):
                    return
                await asyncio.sleep(0.05)

    await told(
        # In between stands what the runtime was about: containerd 1.6 and 2.x put it differently.
        "Failed to create pod sandbox: rpc error: code = Unknown desc = "
        '.*: no runtime for "none" is configured'
    )
    await told('Failed to create pod sandbox: runtimeclass.node.k8s.io "not-there" not found')
    assert phase(await joined.pod("lost")) == "Pending"
    joined.node.remove("absent")
    await joined.node.gone("absent")
