"""What every node in memory is made with: cgroups, containers that do as they are told, a configuration."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

from pykubelet.base.layout import Layout
from pykubelet.cri.memory_world import Script
from pykubelet.linux.cgroups import Limits
from pykubelet.resources.names import uid_of

IMAGE = "example.com/app:v1"


class MemoryCgroups:
    """A cgroup tree in memory (see ``linux.cgroups.CgroupFs``)."""

    version = 2

    def __init__(self):
        self.names = {PurePosixPath("/")}
        self.has = {}

    def missing(self, name):
        return () if PurePosixPath(name) in self.names else (name,)

    def create(self, name):
        path = PurePosixPath(name)
        self.names |= {path, *path.parents}

    def apply(self, name, limits):
        had = self.limits(name)
        self.has[name] = Limits(
            limits.cpu_shares or had.cpu_shares,
            limits.cpu_quota or had.cpu_quota,
            limits.cpu_period or had.cpu_period,
            limits.memory or had.memory,
        )

    def limits(self, name):
        if PurePosixPath(name) not in self.names:
            raise FileNotFoundError(name)
        return self.has.get(name, Limits(2, -1, 100_000, -1))

    def shown(self, limits):
        return Limits(limits.cpu_shares, limits.cpu_quota, limits.cpu_period, limits.memory)

    def memory_usage(self, name):
        return 1 << 20

    def children(self, name):
        return {path.name for path in self.names if path.parent == PurePosixPath(name) != path}

    def pids(self, name):
        return set()

    def kill(self, name):
        pass

    def remove(self, name, *, recursive=True):
        gone = PurePosixPath(name)
        self.names = {path for path in self.names if path != gone and gone not in path.parents}
        self.has = {each: limits for each, limits in self.has.items() if PurePosixPath(each) in self.names}

    def pods(self):
        return {uid for path in self.names if (uid := uid_of(path.name)) is not None}


def runs(name, *, seconds="", code=0, **fields):
    """A container that ends with *code* after *seconds*, or runs for ever."""
    return {"name": name, "image": IMAGE, "command": ["run", str(seconds), str(code)], **fields}


def script(sandbox, config):
    """What a container of :func:`runs` does."""
    _, seconds, code = config.command
    return Script(runs_for=float(seconds) if seconds else None, exit_code=int(code), stops_after=0.1)


def write_config(path: Path, manifests: Path, layout: Layout, **fields: Any) -> Path:
    """Write the configuration of a node that touches nothing of this machine; answers *path*."""
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        # The runtime in memory writes no logs, and its disk is this machine's.
        "containerLogMaxSize": "-1",
        "imageGCHighThresholdPercent": 100,
        "enableServer": False,
        "healthzPort": 0,
        "containerRuntimeEndpoint": "unix:///nowhere",
        "staticPodPath": str(manifests),
        "podLogsDir": str(layout.pod_logs),
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "oomScoreAdj": 0,
        **fields,
    }
    path.write_text(json.dumps(config))
    return path
