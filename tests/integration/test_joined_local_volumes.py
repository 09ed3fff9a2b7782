"""Claims that lead to volumes of the node itself, from the API server to a container."""

import asyncio
import os
from pathlib import Path

import pytest
from tests.apiserver.client import MERGE
from tests.integration.killed_node import container
from tests.integration.node import pod
from tests.listing import contents, listed

from pykubelet.linux import loop
from pykubelet.volumes import mountpoint

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def bind(joined, name, *, mode="Filesystem", access="ReadWriteOnce", **source):
    """A claim of that name, bound to a persistent volume with that source."""
    cluster = joined.cluster
    volume = f"pv-{name}-{cluster.namespace}"
    size = {"storage": "16Mi"}
    claims = cluster.path("persistentvolumeclaims")
    common = {"accessModes": [access], "volumeMode": mode, "storageClassName": ""}
    claim = {**common, "resources": {"requests": size}, "volumeName": volume}
    made = await cluster.create(claims, {"metadata": {"name": name}, "spec": claim})
    place = {"key": "kubernetes.io/hostname", "operator": "In", "values": [joined.name]}
    pv = {
        **common,
        "capacity": size,
        "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": cluster.namespace, "name": name, "uid": made["metadata"]["uid"]},
        **source,
    }
    if "local" in source:
        pv["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [place]}]}}
    path = cluster.later(f"/api/v1/persistentvolumes/{volume}")
    await cluster.create("/api/v1/persistentvolumes", {"metadata": {"name": volume}, "spec": pv})
    status = {"status": {"phase": "Bound", "capacity": size, "accessModes": [access]}}
    await cluster.patch(f"{path}/status", {"status": {"phase": "Bound"}}, MERGE)
    await cluster.patch(f"{claims}/{name}/status", status, MERGE)
    return volume


def claimed(**claims):
    return [
        {"name": name, "persistentVolumeClaim": {"claimName": claim, "readOnly": read_only}}
        for name, (claim, read_only) in claims.items()
    ]


async def test_a_directory_and_a_path_of_the_node(joined, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "path").mkdir()
    (tmp_path / "disk" / "file").write_text("kept\n")
    volume = await bind(joined, "disk", local={"path": str(tmp_path / "disk")})
    await bind(joined, "path", hostPath={"path": str(tmp_path / "path"), "type": "Directory"})
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("disk", "path")]
    mounts.append({"name": "disk", "mountPath": "/sub", "subPath": "made"})
    app = container("app", volumeMounts=mounts)
    volumes = claimed(disk=("disk", False), path=("path", True))
    made = await joined.create(pod("claiming", app, volumes=volumes, securityContext={"fsGroup": 4321}))
    [shown] = await joined.ready("claiming")
    script = "cat /disk/file; echo new > /disk/new; echo sub > /sub/x; stat -c %g /disk/new"
    assert (await joined.exec(shown, script)).splitlines() == ["kept", "4321"]
    assert "Read-only" in await joined.exec(shown, "touch /path/x 2>&1; true")
    assert (tmp_path / "disk" / "made" / "x").read_text() == "sub\n"
    place = joined.node.layout.pod_volume(made["metadata"]["uid"], "kubernetes.io/local-volume", volume)
    assert await asyncio.to_thread(mountpoint.is_mounted, place)
    await joined.delete("claiming")
    await joined.gone("claiming")
    assert not place.exists()
    assert sorted(os.listdir(tmp_path / "disk")) == ["file", "made", "new"]


def in_use(devices):
    """Which of the devices are mounted, or held by another loop device."""
    tables = [Path("/proc/self/mounts"), *(disk / "loop/backing_file" for disk in listed("/sys/block"))]
    told = "\n".join(map(contents, tables))
    return [device for device in devices if f"{device} " in told or f"{device}\n" in told]


async def test_a_device_as_a_file_system_and_as_it_is(joined, tmp_path):
    def disk(name):
        with open(tmp_path / name, "wb") as file:
            file.truncate(32 << 20)
        return loop.hold(str(tmp_path / name))

    devices = {name: await asyncio.to_thread(disk, name) for name in ("formatted", "raw")}
    try:
        await bind(joined, "formatted", local={"path": devices["formatted"]})
        await bind(joined, "raw", mode="Block", local={"path": devices["raw"]})
        app = container(
            "app",
            volumeMounts=[{"name": "formatted", "mountPath": "/data"}],
            volumeDevices=[{"name": "raw", "devicePath": "/dev/xvda"}],
            securityContext={"privileged": True},
        )
        volumes = claimed(formatted=("formatted", False), raw=("raw", False))
        await joined.create(pod("devices", app, volumes=volumes))
        [shown] = await joined.ready("devices")
        await joined.exec(shown, "echo kept > /data/file; echo raw > /dev/xvda; sync")
        look = "grep -c ' /data ext4 ' /proc/mounts; stat -c %F /dev/xvda"
        assert (await joined.exec(shown, look)).splitlines() == ["1", "block special file"]
        await joined.delete("devices")
        await joined.gone("devices")
        # Once no pod has them, nothing holds them.
        await joined.node.until(lambda: not in_use(devices.values()))
        with open(devices["raw"], "rb") as file:
            assert file.read(4) == b"raw\n"
    finally:
        for name in devices:
            await asyncio.to_thread(loop.release, str(tmp_path / name))
