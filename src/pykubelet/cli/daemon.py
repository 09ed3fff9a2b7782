"""The daemon's process: made of what was configured, served until a signal, ended whatever hangs."""

import asyncio
import asyncio.sslproto
import gc
import logging
import os
import random
import resource
import signal
import threading
from typing import Final

from pykubelet import __version__
from pykubelet.base.clock import SystemClock
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import first_of
from pykubelet.cluster.bootstrap import BootstrapError
from pykubelet.cluster.kubeconfig import KubeconfigError
from pykubelet.cluster.tls import TlsMaterialError
from pykubelet.config import HostFacts, Loaded, check_host
from pykubelet.config.types import DEFAULT_ENDPOINT
from pykubelet.cri.dockerd import DockerError, Way, find
from pykubelet.explain.journal import DecisionJournal
from pykubelet.kubelet import Kubelet, Parts
from pykubelet.linux.addresses import AddressError
from pykubelet.node.host import Host, look, node_name
from pykubelet.server import check_standalone_auth
from pykubelet.wiring.connection import Tools, connect
from pykubelet.wiring.settings import layout_of
from pykubelet.wiring.startup import StartError

log = logging.getLogger(__name__)

#: What ends a start with one line.
FAILURES: Final = (StartError, AddressError, ValueError, OSError)
#: Seconds after the orderly end within which the process is gone, whatever its threads do.
END_LIMIT = 10.0
#: Bytes that asyncio reads at once from a TLS connection: what one TLS record holds.
_TLS_READ: Final = 16 << 10


def serve(loaded: Loaded) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code.

    One of :data:`FAILURES` tells in one line why it cannot start, or cannot go on.
    """
    return asyncio.run(_serve(loaded))


async def _serve(loaded: Loaded) -> int:
    name = node_name(loaded.flags.hostnameOverride)
    layout = layout_of(loaded)
    host = await asyncio.to_thread(look, name, loaded.flags.nodeIP, layout.root)
    facts = HostFacts(host.cgroups.version, host.machine.swap_on, frozenset(os.sched_getaffinity(0)))
    reasons = check_host(loaded.config, facts)
    reasons += check_standalone_auth(loaded.config, loaded.flags.kubeconfig)
    if reasons:
        raise StartError("; ".join(reasons))
    if host.ip_problem:
        log.warning("the node's IP is %s: %s", host.ips[0], host.ip_problem)
    _allow_open_files(loaded.config.maxOpenFiles)
    # Each connection keeps a buffer of that size, and each watch is a connection: the usual
    # 256 KiB would be most of what it takes.
    asyncio.sslproto.SSLProtocol.max_size = _TLS_READ
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    kubelet = await _made(loaded, host, layout, stop)
    if kubelet is None:
        return 0
    # What was made until here lives as long as the daemon: no collection needs to look at it again.
    gc.collect()
    gc.freeze()
    log.info("pykubelet %s begins as node %s at %s", __version__, name, SystemClock().now())
    try:
        await kubelet.run(stop)
    finally:
        _end_at_last()
    return 0


async def _made(loaded: Loaded, host: Host, layout: Layout, stop: asyncio.Event) -> Kubelet | None:
    """The node agent; None if *stop* came first, as a bootstrap may wait for an hour.

    :raises StartError: there is no way to the cluster.
    """
    made: list[Kubelet | Exception] = []

    async def make() -> None:
        try:
            made.append(await make_kubelet(loaded, host, layout))
        except (StartError, ValueError, OSError) as error:
            # The caller tells it in one line.
            made.append(error)

    await first_of(make(), stop.wait())
    found = made[0] if made else None
    if isinstance(found, Exception):
        raise found
    return found


async def make_kubelet(loaded: Loaded, host: Host, layout: Layout) -> Kubelet:
    """The node agent, with its ways to the cluster and to Docker if there are to be any.

    :raises StartError: there is no way.
    """
    docker = await _docker(loaded, layout)
    if not loaded.flags.kubeconfig:
        return Kubelet(loaded, host, layout, Parts(docker=docker))
    clock = SystemClock()
    rng = random.Random()  # noqa: S311 - spreads load, guards nothing
    journal = DecisionJournal(clock, layout.journal_file)
    metrics = Metrics()
    made: list[Kubelet] = []
    try:
        connection = await connect(
            loaded, host.node_name, Tools(clock, rng, metrics, journal), lambda reason: made[0].fail(reason)
        )
    except (BootstrapError, KubeconfigError, TlsMaterialError) as error:
        raise StartError(str(error)) from error
    parts = Parts(
        clock=clock, rng=rng, journal=journal, metrics=metrics, connection=connection, docker=docker
    )
    made.append(Kubelet(loaded, host, layout, parts))
    return made[0]


async def _docker(loaded: Loaded, layout: Layout) -> Way | None:
    """The cri-dockerd to be started, if any; where Docker is asked for its endpoint is the node's.

    :raises StartError: there is no way to Docker.
    """
    config = loaded.config
    if loaded.flags.containerRuntime != "docker" or config.containerRuntimeEndpoint != DEFAULT_ENDPOINT:
        return None
    try:
        way = await asyncio.to_thread(find, layout.run)
    except DockerError as error:
        raise StartError(str(error)) from error
    log.info("Docker is reached through cri-dockerd at %s", way.endpoint)
    config.containerRuntimeEndpoint = way.endpoint
    return way if way.program else None


def _end_at_last() -> None:
    """A thread that hangs in the kernel (a dead file server) must not keep the process for ever."""
    timer = threading.Timer(END_LIMIT, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _allow_open_files(number: int) -> None:
    """Set the limit of open files; where the kernel refuses more, what it allows has to do."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, max(hard, number)))
    except (OSError, ValueError) as error:
        log.warning("maxOpenFiles %d was not set, %d has to do: %s", number, hard, error)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(number, hard), hard))
