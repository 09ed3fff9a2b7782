"""``python -m bench.cluster --kubeconfig FILE --node NAME --pid PID [name…]``: a node of a real cluster.

Everything is timed as the API server shows it, whichever kubelet serves the node, so that two
kubelets can be put beside each other on the same control plane and runtime. *PID* is the kubelet's.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import re
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import yaml

IMAGE = "registry.k8s.io/pause:3.10.2"
SHELL = "registry.k8s.io/e2e-test-images/busybox:1.37.0-1"


class Cluster:
    """The API server as an administrator uses it, and a running watch of the pods in one namespace."""

    def __init__(self, kubeconfig: Path, node: str) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        self.node = node
        self.server = cluster["server"]
        self.tls = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        with tempfile.NamedTemporaryFile() as file:
            for key in ("client-certificate-data", "client-key-data"):
                file.write(base64.b64decode(user[key]))
            file.flush()
            self.tls.load_cert_chain(file.name)
        self.namespace = f"bench-{os.getpid()}-{time.monotonic_ns()}"
        self.pods: dict[str, dict[str, Any]] = {}
        #: (pod, what) → monotonic time at which the watch first showed it.
        self.seen: dict[tuple[str, str], float] = {}
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> "Cluster":
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.tls, limit=0))
        await self.call("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        for _ in range(100):
            accounts = await self.call("GET", f"/api/v1/namespaces/{self.namespace}/serviceaccounts")
            if accounts["items"]:
                break
            await asyncio.sleep(0.1)
        self._watch = asyncio.get_running_loop().create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.call("DELETE", f"/api/v1/namespaces/{self.namespace}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(120):
                while self.pods:
                    await asyncio.sleep(0.2)
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        await self.session.close()

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        async with self.session.request(method, self.server + path, json=body) as answer:
            data = await answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {data[:300]!r}")
            return json.loads(data) if data.startswith(b"{") else data.decode()

    async def _follow(self) -> None:
        path = f"{self.server}/api/v1/namespaces/{self.namespace}/pods?watch=true&timeoutSeconds=86400"
        timeout = aiohttp.ClientTimeout(total=None)
        async with self.session.get(path, timeout=timeout) as answer:
            buffer = b""
            async for chunk in answer.content.iter_any():
                now = time.monotonic()
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    self._take(json.loads(line), now)
                async with self._changed:
                    self._changed.notify_all()

    def _take(self, event: dict[str, Any], now: float) -> None:
        pod = event["object"]
        name = pod["metadata"]["name"]
        if event["type"] == "DELETED":
            self.pods.pop(name, None)
            self.seen.setdefault((name, "gone"), now)
            return
        self.pods[name] = pod
        status = pod.get("status", {})
        for condition in status.get("conditions", []):
            if condition["type"] == "Ready" and condition["status"] == "True":
                self.seen.setdefault((name, "ready"), now)
        for one in status.get("containerStatuses", []):
            if "terminated" in one.get("state", {}) or one.get("lastState", {}):
                self.seen.setdefault((name, "terminated"), now)
            if one.get("restartCount") and "running" in one.get("state", {}):
                self.seen.setdefault((name, "running again"), now)

    async def until(self, names: list[str], what: str, limit: float) -> None:
        async with asyncio.timeout(limit), self._changed:
            await self._changed.wait_for(lambda: all((name, what) in self.seen for name in names))

    async def bind(self, name: str, *, command: list[str] | None = None, config_map: str = "") -> float:
        container: dict[str, Any] = {"name": "c", "image": SHELL if command else IMAGE}
        spec: dict[str, Any] = {"nodeName": self.node, "containers": [container]}
        if command:
            container["command"] = command
        if config_map:
            container["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
            spec["volumes"] = [{"name": "v", "configMap": {"name": config_map}}]
        began = time.monotonic()
        await self.call(
            "POST", f"/api/v1/namespaces/{self.namespace}/pods", {"metadata": {"name": name}, "spec": spec}
        )
        return began

    async def delete(self, name: str) -> float:
        began = time.monotonic()
        await self.call("DELETE", f"/api/v1/namespaces/{self.namespace}/pods/{name}")
        return began

    async def requests(self) -> float:
        """How many requests the kubelet has made, as its own metrics count them; watches apart."""
        text = await self.call("GET", f"/api/v1/nodes/{self.node}/proxy/metrics")
        return sum(
            float(m[1]) for m in re.finditer(r"^rest_client_requests_total\{[^}]*\} (\S+)$", text, re.M)
        )


def tell(what: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    high = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    ninety = ordered[min(len(ordered) - 1, int(len(ordered) * 0.9))]
    print(
        f"{what:42} p50 {statistics.median(ordered):6.3f} s   p90 {ninety:6.3f} s   p99 {high:6.3f} s"
        f"   n={len(ordered)}",
        flush=True,
    )


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def process_of(container_id: str) -> int:
    """A process in the cgroup of that container."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if container_id in (entry / "cgroup").read_text():
                    return int(entry.name)
    raise RuntimeError(f"no process of container {container_id}")


async def start(cluster: Cluster, _pid: int, count: int) -> None:
    """Pods one after the other: bound to Ready, then DELETE to gone."""
    ready, gone = [], []
    before = await cluster.requests()
    for number in range(count):
        name = f"s{number}"
        began = await cluster.bind(name)
        await cluster.until([name], "ready", 60)
        ready.append(cluster.seen[name, "ready"] - began)
        await asyncio.sleep(0.3)
    per_start = (await cluster.requests() - before) / count
    for number in range(count):
        name = f"s{number}"
        began = await cluster.delete(name)
        await cluster.until([name], "gone", 60)
        gone.append(cluster.seen[name, "gone"] - began)
    tell("bound to Ready, one at a time", ready)
    print(f"{'API requests per pod start':42} {per_start:.1f}", flush=True)
    tell("DELETE to gone, one at a time", gone)


async def burst(cluster: Cluster, pid: int, count: int) -> None:
    """Many pods at once, and all deleted at once."""
    names = [f"b{number}" for number in range(count)]
    cpu = cpu_seconds(pid)
    began = dict(zip(names, await asyncio.gather(*map(cluster.bind, names)), strict=True))
    first = min(began.values())
    await cluster.until(names, "ready", 300)
    tell(f"bound to Ready, {count} at once", [cluster.seen[n, "ready"] - began[n] for n in names])
    print(f"{'all ready after':42} {max(cluster.seen[n, 'ready'] for n in names) - first:6.2f} s", flush=True)
    print(f"{'CPU of the kubelet meanwhile':42} {cpu_seconds(pid) - cpu:6.2f} s", flush=True)
    first = time.monotonic()
    await asyncio.gather(*map(cluster.delete, names))
    await cluster.until(names, "gone", 300)
    print(f"{'all gone after':42} {max(cluster.seen[n, 'gone'] for n in names) - first:6.2f} s", flush=True)


async def exits(cluster: Cluster, _pid: int, count: int) -> None:
    """A container's process is killed: until the API says so, and until it runs again."""
    told, again = [], []
    for number in range(count):
        name = f"x{number}"
        await cluster.bind(name, command=["sleep", "100000"])
        await cluster.until([name], "ready", 60)
        await asyncio.sleep(1)
        container = cluster.pods[name]["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
        process = process_of(container)
        began = time.monotonic()
        os.kill(process, 9)
        await cluster.until([name], "terminated", 60)
        await cluster.until([name], "running again", 60)
        told.append(cluster.seen[name, "terminated"] - began)
        again.append(cluster.seen[name, "running again"] - began)
    tell("killed to terminated in the API", told)
    tell("killed to running again in the API", again)


async def objects(cluster: Cluster, pid: int, count: int) -> None:
    """A config map that many pods show changes: until each pod's file does."""
    await cluster.call(
        "POST",
        f"/api/v1/namespaces/{cluster.namespace}/configmaps",
        {"metadata": {"name": "shared"}, "data": {"key": "0"}},
    )
    names = [f"o{number}" for number in range(count)]
    for name in names:
        await cluster.bind(name, config_map="shared")
    await cluster.until(names, "ready", 300)
    root = root_of(pid)
    files = [
        root / "pods" / cluster.pods[name]["metadata"]["uid"] / "volumes/kubernetes.io~configmap/v/key"
        for name in names
    ]
    taken: list[float] = []
    for turn in range(1, 6):
        began, left = time.monotonic(), set(files)
        await cluster.call(
            "PUT",
            f"/api/v1/namespaces/{cluster.namespace}/configmaps/shared",
            {"metadata": {"name": "shared"}, "data": {"key": str(turn)}},
        )
        while left:
            for file in [file for file in left if file.read_text() == str(turn)]:
                left.discard(file)
                taken.append(time.monotonic() - began)
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.5)
    tell(f"config map changed to file, {count} pods", taken)


def root_of(pid: int) -> Path:
    """The kubelet's root directory, as its command line names it."""
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    found = [argument.partition("=")[2] for argument in arguments if argument.startswith("--root-dir=")]
    return Path(found[0] if found else "/var/lib/kubelet")


async def rest(cluster: Cluster, pid: int, count: int) -> None:
    """Many pods, and nothing happens."""
    names = [f"r{number}" for number in range(count)]
    await asyncio.gather(*map(cluster.bind, names))
    await cluster.until(names, "ready", 300)
    await asyncio.sleep(45)
    cpu, requests, began = cpu_seconds(pid), await cluster.requests(), time.monotonic()
    await asyncio.sleep(120)
    minutes = (time.monotonic() - began) / 60
    print(f"{f'CPU at rest, {count} pods':42} {(cpu_seconds(pid) - cpu) / minutes:6.2f} s/min", flush=True)
    asked = await cluster.requests() - requests
    print(f"{'API requests at rest':42} {asked / minutes:6.1f} /min", flush=True)
    print(f"{'resident memory':42} {resident_mib(pid):6.1f} MiB", flush=True)


MEASUREMENTS: dict[str, tuple[Callable[..., Any], int]] = {
    "start": (start, 20),
    "burst": (burst, 60),
    "exits": (exits, 10),
    "objects": (objects, 60),
    "rest": (rest, 60),
}


async def _main(arguments: argparse.Namespace) -> None:
    for name in arguments.name or MEASUREMENTS:
        measure, count = MEASUREMENTS[name]
        async with Cluster(arguments.kubeconfig, arguments.node) as cluster:
            await measure(cluster, arguments.pid, arguments.count or count)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    parser.add_argument("name", nargs="*", choices=[*MEASUREMENTS, []], help="which to run (default: all)")
    parser.add_argument("--kubeconfig", type=Path, required=True, help="an administrator's")
    parser.add_argument("--node", required=True)
    parser.add_argument("--pid", type=int, required=True, help="of the kubelet")
    parser.add_argument("--count", type=int, help="how many pods instead of the usual number")
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
