"""What goes wrong in the in-memory runtime on demand: errors, delays and hangs of chosen calls."""

import asyncio
from dataclasses import dataclass

from pykubelet.base.clock import Clock
from pykubelet.cri.errors import Code, CriError


@dataclass(slots=True)
class Fault:
    """One fault; *times* counts down to its end, None lasts until it is healed."""

    method: str
    code: Code | None = None
    message: str = "injected"
    #: Seconds before the call goes on, or fails.
    delay: float = 0.0
    hang: bool = False
    #: The call is done, and only its answer is lost to *code*.
    after: bool = False
    times: int | None = 1


class Faults:
    """The faults that are set now; ``*`` as the method means every call."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._set: list[Fault] = []
        self._healed = asyncio.Event()
        #: While set, every call fails as if nobody listened at the socket.
        self.away = False

    def inject(self, fault: Fault) -> None:
        """Set *fault*."""
        self._set.append(fault)

    def heal(self, method: str = "*") -> None:
        """Take the faults of *method* (all by default) away; calls that hang go on."""
        self._set = [fault for fault in self._set if method not in {"*", fault.method}]
        self._healed.set()
        self._healed = asyncio.Event()

    def _take(self, method: str, *, after: bool) -> Fault | None:
        for fault in self._set:
            if fault.method in {"*", method} and fault.after is after:
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._set.remove(fault)
                return fault
        return None

    async def pass_through(self, method: str, *, after: bool = False) -> None:
        """Let the fault of *method*, if there is one, happen to this call.

        :raises CriError: as the fault says.
        """
        if self.away:
            why = "dial unix: connect: connection refused"
            text = f'connection error: desc = "transport: Error while dialing: {why}"'
            raise CriError(Code.Unavailable, method, text)
        fault = self._take(method, after=after)
        if fault is None:
            return
        if fault.delay:
            await self._clock.sleep(fault.delay)
        if fault.hang:
            await self._healed.wait()
        if fault.code is not None:
            raise CriError(fault.code, method, fault.message)
