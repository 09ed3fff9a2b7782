"""The KubeletConfiguration that ``up`` writes for its daemon."""

import errno
import json
import socket
from pathlib import Path

from pykubelet.cli.up.places import Places


def free_port(preferred: int, address: str = "127.0.0.1") -> int:
    """*preferred* if nobody listens there, else a port that is free now."""
    for port in (preferred, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            taken: int = probe.getsockname()[1]
            return taken
    raise OSError(errno.EADDRINUSE, f"no free port at {address}")


def daemon_config(
    places: Places, *, endpoint: str, cgroup_root: str, port: int = 10250, healthz_port: int = 10248
) -> str:
    """The configuration as a file's text (JSON, which is YAML too).

    Without a cluster there is nobody to ask who may do what: the API listens on
    loopback only, wants a client certificate, and the command line uses the admin socket.
    """
    values = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "port": port,
        "healthzPort": healthz_port,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup_root.lstrip('/')}",
        "containerRuntimeEndpoint": endpoint,
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "podLogsDir": str(places.pod_logs),
        "staticPodPath": str(places.active),
    }
    return json.dumps(values, indent=2) + "\n"


def daemon_arguments(places: Places, python: Path) -> list[str]:
    """The daemon's command line."""
    return [
        str(python),
        "-m",
        "pykubelet",
        "run",
        f"--config={places.config}",
        f"--root-dir={places.kubelet_root}",
        f"--cert-dir={places.certificates}",
        # Made on the spot: nobody could pull them again.
        "--image-gc-keep=pykubelet.local/*",
    ]
