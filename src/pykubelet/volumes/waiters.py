"""Those who wait until something about a pod's volumes is as they need it."""

import asyncio
from collections.abc import Callable


class Waiters:
    """Who waits for which pod; told whenever something changed, each looks for itself."""

    def __init__(self) -> None:
        self._changed: dict[str, set[asyncio.Event]] = {}

    @property
    def idle(self) -> bool:
        """Whether nobody waits."""
        return not self._changed

    async def until(self, uid: str, done: Callable[[], bool], limit: float) -> bool:
        """Wait until *done*, at most *limit* seconds; whether it is."""
        changed = asyncio.Event()
        self._changed.setdefault(uid, set()).add(changed)
        try:
            async with asyncio.timeout(limit):
                while not done():
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            return done()
        finally:
            self._changed[uid].discard(changed)
            if not self._changed[uid]:
                del self._changed[uid]
        return True

    def tell(self, uid: str) -> None:
        """Something about the pod's volumes changed."""
        for changed in self._changed.get(uid, ()):
            changed.set()
