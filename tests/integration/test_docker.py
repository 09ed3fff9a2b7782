"""``--container-runtime=docker`` with a stand-in cri-dockerd, which hands everything on to containerd."""

import os

import pytest
from tests.cri.test_dockerd import stand_in
from tests.integration.killed_node import container
from tests.integration.node import pod, running_node

from pykubelet.config.types import DEFAULT_ENDPOINT
from pykubelet.cri import dockerd


async def test_pods_run_through_a_cri_dockerd_that_is_ours(containerd, tmp_path, no_leaks, monkeypatch):
    monkeypatch.setattr(dockerd.find, "__kwdefaults__", {"sockets": (), "which": None})
    docker = {"flags": ["--container-runtime=docker"], "containerRuntimeEndpoint": DEFAULT_ENDPOINT}
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STANDIN_TARGET", str(containerd.socket))
    stand_in(tmp_path)
    async with running_node(tmp_path / "node", containerd, "dock", **docker) as node:
        node.apply(pod("web", container("app", "echo here; exec sleep 1000")))
        await node.until(lambda: node.log("web") == "here" if node.runs("web") else False)
        started = [e.text for e in node.kubelet.ground.journal.of_node() if e.what == "CriDockerdStarted"]
        assert len(started) == 1
        pid = int(started[0].split()[-1])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
