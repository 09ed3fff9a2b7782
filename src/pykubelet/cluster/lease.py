"""The node's lease, by which the cluster sees that it lives: renewed on time, whatever else is slow.

It has a client and a task of its own, so that nothing else can delay it.
Source: component-helpers' ``apimachinery/lease`` and upstream's ``SetNodeOwnerFunc``.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from pykubelet.api.meta import ObjectMeta, OwnerReference
from pykubelet.api.objects import Lease, LeaseSpec
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Journal
from pykubelet.base.tasks import TaskOwner

from .door import Api
from .errors import ClusterError, Refused
from .paths import leases

log = logging.getLogger(__name__)

NAMESPACE: Final = "kube-node-lease"
#: The lease is renewed after this part of its duration.
_RENEW_PART: Final = 0.25
#: The wait between renewals is longer by up to this part of itself.
_JITTER: Final = 0.04
#: Tries to update before it is looked whether the lease is still there.
_TRIES: Final = 5
#: Seconds of the first wait after a failure to find or make the lease, and of the longest one.
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 7.0
#: Seconds that the server's own wish for a wait is heeded.
_LONGEST_WISH: Final = 60.0


class NodeLease:
    """Makes the lease ``kube-node-lease/NODE`` and renews it."""

    def __init__(
        self,
        api: Api,
        node: str,
        clock: Clock,
        rng: random.Random,
        journal: Journal,
        *,
        duration: int,
        reset: Callable[[], Awaitable[None]],
    ) -> None:
        """*duration* is ``nodeLeaseDurationSeconds``; *reset* closes the client's connections.

        The lease is made once the Node's UID is known (``owned_by``): without an owner it would
        outlive its Node.
        """
        self._api = api
        self._node = node
        self._clock = clock
        self._rng = rng
        self._journal = journal
        self._duration = duration
        self._interval = duration * _RENEW_PART
        self._reset = reset
        self._tasks = TaskOwner("node-lease")
        self._uid = ""
        self._known = asyncio.Event()
        self._lease: Lease | None = None
        self._lost = False

    async def start(self) -> None:
        """Begin to hold the lease."""
        self._tasks.forever("renew", self._hold, pause=self._clock.sleep)

    async def stop(self) -> None:
        """Renew no more; the lease runs out by itself."""
        await self._tasks.close()

    def owned_by(self, uid: str) -> None:
        """The Node's UID is *uid* (again)."""
        if uid and uid != self._uid:
            self._uid = uid
            self._known.set()

    async def _hold(self) -> None:
        while True:
            began = self._clock.monotonic()
            await self._renew()
            period = self._interval * (1 + self._rng.random() * _JITTER)
            took = self._clock.monotonic() - began
            # Counted from the renewal's begin, so that a slow server does not stretch the interval;
            # from its end when it was an outage.
            await self._clock.sleep(period - took if took < period else period)

    async def _renew(self) -> None:
        """Renew the lease as it was last seen; if that fails, as it is found or made anew."""
        if self._lease is None or not await self._update(self._lease):
            self._lease = None
            lease, created = await self._ensure()
            if created:
                self._held(lease)
            else:
                await self._update(lease)

    async def _update(self, base: Lease) -> bool:
        """Renew the lease that was *base* when it was last seen; False when it must be looked for."""
        for attempt in range(_TRIES):
            try:
                path, body = leases(NAMESPACE, self._node), self._renewed(base)
                self._held(await self._api.update(path, body, Lease, timeout=self._limit))
                return True
            except ClusterError as error:
                self._failed(error)
                if isinstance(error, Refused) and error.not_found:
                    return False
                if isinstance(error, Refused) and error.conflict:
                    base, created = await self._ensure()
                    if created:
                        self._held(base)
                        return True
                    continue
                await self._heed(error)
            if attempt > 0:
                await self._reset()
        return False

    async def _ensure(self) -> tuple[Lease, bool]:
        """The lease as the server has it, and whether it was made just now; tries until there is one."""
        wait = _FIRST_WAIT
        while True:
            try:
                return await self._get_or_create()
            except ClusterError as error:
                self._failed(error)
                await self._heed(error)
                wait = min(wait * 2, _LONGEST_WAIT)
                await self._clock.sleep(wait)

    async def _get_or_create(self) -> tuple[Lease, bool]:
        try:
            path = leases(NAMESPACE, self._node)
            return await self._api.get(path, Lease, timeout=self._limit), False
        except Refused as error:
            if not error.not_found:
                raise
        await self._known.wait()
        new = Lease(
            metadata=ObjectMeta(name=self._node, namespace=NAMESPACE),
            spec=LeaseSpec(holderIdentity=self._node),
        )
        body = self._renewed(new)
        made = await self._api.create(leases(NAMESPACE), body, Lease, timeout=self._limit)
        self._journal.record("LeaseCreated", "the node's lease was made", seconds=self._duration)
        return made, True

    @property
    def _limit(self) -> float:
        """Seconds that one request may take: another must fit before the lease runs out."""
        return min(float(self._duration), max(self._interval, 1.0))

    def _renewed(self, base: Lease) -> Lease:
        spec = msgspec.structs.replace(
            base.spec,
            leaseDurationSeconds=self._duration,
            renewTime=self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        )
        owners = base.metadata.ownerReferences
        if self._uid and [owner.uid for owner in owners if owner.kind == "Node"] != [self._uid]:
            # Also after the Node was made anew: the garbage collector would take the lease of the old one.
            ours = OwnerReference(apiVersion="v1", kind="Node", name=self._node, uid=self._uid)
            owners = [*(owner for owner in owners if owner.kind != "Node"), ours]
        metadata = msgspec.structs.replace(base.metadata, ownerReferences=owners)
        return msgspec.structs.replace(base, metadata=metadata, spec=spec)

    async def _heed(self, error: ClusterError) -> None:
        """Wait as long as the server asked for."""
        if isinstance(error, Refused) and error.retry_after:
            await self._clock.sleep(min(error.retry_after, _LONGEST_WISH))

    def _failed(self, error: ClusterError) -> None:
        if not self._lost:
            log.warning("the node's lease cannot be renewed: %s", error)
        self._lost = True

    def _held(self, lease: Lease) -> None:
        self._lease = lease
        if self._lost:
            log.info("the node's lease is held again")
        self._lost = False
