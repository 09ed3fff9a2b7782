"""Whether the runtime can be worked with: its own status, polled, and when it was last good."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from pykubelet.base.clock import Clock
from pykubelet.base.tasks import TaskOwner
from pykubelet.cri.door import Runtime
from pykubelet.cri.errors import CriError
from pykubelet.cri.types import RuntimeCondition, RuntimeStatus

log = logging.getLogger(__name__)

#: Seconds between looks, while the runtime is well and while it is not.
POLL, POLL_DOWN = 5.0, 1.0
#: Seconds without a good status after which the runtime counts as down.
DOWN_AFTER = 30.0
#: Seconds that one look may take.
LOOK_TIMEOUT = 10.0


class RuntimeHealth:
    """Polls Status; tells when the runtime is first good, when it comes back, and why it is not."""

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        *,
        on_first_good: Callable[[RuntimeStatus], Awaitable[None]],
        on_recovered: Callable[[], None],
    ) -> None:
        """*on_first_good* starts what depends on the runtime, once; it is tried again if it fails."""
        self._runtime = runtime
        self._clock = clock
        self._on_first_good = on_first_good
        self._on_recovered = on_recovered
        self._tasks = TaskOwner("runtime-health")
        self._good_at: float | None = None
        self._dependents_started = False
        self._was_good = False
        self._doubt = asyncio.Event()
        self._last_error = "container runtime status check may not have completed yet"
        self._ready = "container runtime status check may not have completed yet"
        self._network = "container runtime network not ready: no status yet"
        self.status: RuntimeStatus | None = None

    async def start(self) -> None:
        """Begin to poll."""
        self._tasks.forever("poll", self._poll_forever, pause=self._clock.sleep)

    async def stop(self) -> None:
        """Poll no more."""
        await self._tasks.close()

    def runtime_errors(self) -> list[str]:
        """Why pods cannot be worked on now, in upstream's words; empty when they can."""
        if self._good_at is None:
            return ["container runtime status check may not have completed yet"]
        errors = []
        if self._clock.monotonic() - self._good_at > DOWN_AFTER:
            errors.append("container runtime is down")
        if self._ready:
            errors.append(self._ready)
        return errors

    def network_error(self) -> str:
        """Why pods with a network of their own cannot start now; empty when they can."""
        return self._network

    def doubt(self) -> None:
        """Somebody's call found no runtime: look now.

        An outage shorter than a poll would go unnoticed otherwise, and nobody would be told of its end.
        """
        self._doubt.set()

    async def _poll_forever(self) -> None:
        while True:
            self._doubt.clear()
            started_before = self._dependents_started
            good = await self._look()
            if good and not self._was_good and started_before:
                log.info("the container runtime answers")
                self._on_recovered()
            self._was_good = good
            if good:
                await self._until_doubt(POLL)
            else:
                await self._clock.sleep(POLL_DOWN)

    async def _until_doubt(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._doubt.wait()
        except TimeoutError:
            pass

    async def _look(self) -> bool:
        try:
            async with asyncio.timeout(LOOK_TIMEOUT):
                status = await self._runtime.status()
        except (CriError, TimeoutError) as error:
            text = str(error) or f"no answer within {LOOK_TIMEOUT:.0f}s"
            if text != self._last_error:
                log.error("the container runtime cannot be asked for its status: %s", text)
            self._last_error = text
            return False
        self._last_error = ""
        self.status = status
        self._ready = _not_true(
            status.condition("RuntimeReady"), "RuntimeReady", "container runtime not ready"
        )
        self._network = _not_true(
            status.condition("NetworkReady"), "NetworkReady", "container runtime network not ready"
        )
        if self._ready:
            return False
        if not self._dependents_started:
            await self._on_first_good(status)
            self._dependents_started = True
        self._good_at = self._clock.monotonic()
        return True


def _not_true(condition: RuntimeCondition | None, kind: str, prefix: str) -> str:
    if condition is None:
        return f"{prefix}: the runtime does not report {kind}"
    if condition.status:
        return ""
    return f"{prefix}: {kind}=false reason:{condition.reason} message:{condition.message}"
