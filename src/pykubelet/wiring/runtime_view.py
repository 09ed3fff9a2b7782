"""What the node knows of its container runtime: which one it is, whether it can be used, what runs in it."""

import asyncio
from collections.abc import Sequence

from pykubelet.base.journal import Journal, PodRef
from pykubelet.containers.log_rotator import RunningLog
from pykubelet.cri.door import Runtime
from pykubelet.cri.errors import CriError
from pykubelet.cri.types import RuntimeStatus
from pykubelet.observe.health import RuntimeHealth
from pykubelet.observe.observer import Observer
from pykubelet.observe.types import ObservedPod
from pykubelet.wiring.startup import StartError


class RuntimeView:
    """Joins the runtime's health and the observer of its pods."""

    def __init__(self, runtime: Runtime, health: RuntimeHealth, observer: Observer, journal: Journal) -> None:
        self._runtime = runtime
        self._health = health
        self._observer = observer
        self._journal = journal
        #: Empty before the runtime was asked.
        self.name = ""
        self.version = ""
        #: Set when the runtime, and what runs in it, were looked at once.
        self.settled = asyncio.Event()

    @property
    def status(self) -> RuntimeStatus | None:
        """The last status; None before the first."""
        return self._health.status

    def errors(self) -> Sequence[str]:
        """Why pods cannot be worked on now."""
        errors = self._health.runtime_errors()
        pleg = self._observer.unhealthy()
        if pleg:
            errors.append(f"PLEG is not healthy: {pleg}")
        return errors

    def network_error(self) -> str:
        """Why pods with a network of their own cannot start now; empty when they can."""
        return self._health.network_error()

    async def read(self, uid: str, newer_than: float) -> ObservedPod:
        """The pod as the runtime has it, read after *newer_than* (monotonic seconds).

        :raises CriError: it cannot be read; if nobody answers, the runtime is looked at now.
        """
        try:
            return await self._observer.read(uid, newer_than=newer_than)
        except CriError as error:
            if error.unavailable:
                self._health.doubt()
            raise

    async def running_pods(self) -> Sequence[ObservedPod]:
        """What runs, as soon as it was looked at once."""
        await self.settled.wait()
        return [
            pod for uid in self._observer.cached_uids() if (pod := self._observer.cached(uid)) is not None
        ]

    def running_logs(self) -> Sequence[RunningLog]:
        """The containers that run, as last observed, and where their logs are."""
        observed = (self._observer.cached(uid) for uid in self._observer.cached_uids())
        return [
            RunningLog(c.id, c.log_path, PodRef(pod.namespace, pod.name, pod.uid), c.name)
            for pod in observed
            if pod is not None
            for c in pod.running
        ]

    def mounted_images(self) -> set[str]:
        """The images that containers have as volumes, as last observed."""
        observed = (self._observer.cached(uid) for uid in self._observer.cached_uids())
        mounts = (m for pod in observed if pod is not None for c in pod.containers for m in c.mounts)
        return {mount.image for mount in mounts if mount.image}

    async def look_first(self) -> None:
        """Tell those who wait for it when the pods that run were seen once."""
        await self._observer.first_relist()
        self.settled.set()

    async def learn_version(self) -> None:
        """Ask which runtime it is.

        :raises CriError: it does not say.
        :raises StartError: it is set up in a way that the node cannot work with.
        """
        version = await self._runtime.version()
        self.name, self.version = version.runtime_name, version.runtime_version
        self._journal.record(
            "RuntimeVersion",
            f"the runtime is {version.runtime_name} {version.runtime_version} (CRI {version.api})",
        )
        try:
            driver = await self._runtime.runtime_config()
        except CriError as error:
            if not error.unimplemented:
                raise
            return
        if driver == "systemd":
            raise StartError(
                "cgroupDriver: the container runtime uses the systemd driver, which is not supported yet; "
                "set it to cgroupfs there"
            )
