"""Keeps one certificate of the node fresh: asks for it, waits, stores it, and asks again in time."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final

from pykubelet.base.clock import Clock
from pykubelet.base.journal import Journal
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner

from . import certificate_requests as requests
from .certificate_requests import NotIssued, Purpose, Submitted
from .certificate_store import CertificateStore, KeyPair, StoreError
from .door import Api
from .errors import ClusterError, Refused
from .rotation import Template, rotation_deadline, unsatisfied

log = logging.getLogger(__name__)

#: Seconds that one request is waited for.
WAIT: Final = 15 * 60.0
#: Seconds between tries: the first one, doubled this many times, then the last one for good.
_FIRST, _DOUBLINGS, _JITTER, _LAST = 2.0, 4, 0.1, 32.0
#: Seconds between looks at what the template asks for now.
_TEMPLATE_CHECK: Final = 1.0
#: The longest sleep in seconds: the wall clock may be set while we sleep.
_LONGEST: Final = 3600.0

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_AGES: Final = (
    _MINUTE, _HOUR, 4 * _HOUR, _DAY, 7 * _DAY, 30 * _DAY, 90 * _DAY, 180 * _DAY, 360 * _DAY, 1440 * _DAY,
)  # fmt: skip


def retry_wait(failures: int, share: float) -> float:
    """Seconds to wait after *failures* (1 or more) tries in a row; *share*, 0 to 1, is the jitter's."""
    if failures > _DOUBLINGS:
        return _LAST
    return _FIRST * 2.0 ** (failures - 1) * (1 + _JITTER * share)


class CertificateManager:
    """Owns the certificate of one purpose."""

    def __init__(
        self,
        purpose: Purpose,
        store: CertificateStore,
        template: Callable[[], Template | None],
        api: Callable[[KeyPair | None], Api],
        *,
        clock: Clock,
        random: Random,
        metrics: Metrics,
        journal: Journal,
        on_rotated: Callable[[KeyPair], None] = lambda pair: None,
        initial: tuple[bytes, bytes] | None = None,
    ) -> None:
        """*api* gives the client to ask with, by the pair that is valid now.

        *template* gives None as long as there is nothing to ask for. *initial* is a chain and key (PEM)
        to begin with when nothing is stored; it is replaced at once.
        """
        self.purpose = purpose
        self._store = store
        self._template = template
        self._api = api
        self._clock = clock
        self._random = random
        self._journal = journal
        self._on_rotated = on_rotated
        self._initial = initial
        self._pair: KeyPair | None = None
        self._deadline = datetime.max.replace(tzinfo=UTC)
        self._force = False
        #: What the pair was issued for, even if its signer left something out.
        self._issued_for: Template | None = None
        self._server_healthy = False
        self._tasks = TaskOwner(f"{purpose.name} certificate")
        self._measure(metrics)

    def _measure(self, metrics: Metrics) -> None:
        name = self.purpose.name
        middle = "certificate_manager_client" if name == "client" else name
        self._failures = metrics.counter(
            f"kubelet_{middle}_expiration_renew_errors", "Counter of certificate renewal errors."
        )
        metrics.gauge(
            f"kubelet_certificate_manager_{name}_ttl_seconds",
            f"Gauge of the TTL (time-to-live) of the kubelet's {name} certificate: seconds until it "
            "expires, +INF without a valid one.",
        ).set_function(self._ttl)
        # Upstream measures the ages of serving certificates alone.
        self._ages = (
            metrics.histogram(
                f"kubelet_certificate_manager_{name}_rotation_seconds",
                "Histogram of the number of seconds the previous certificate lived before being rotated.",
                buckets=_AGES,
            )
            if name == "server"
            else None
        )

    def _ttl(self) -> float:
        pair = self.current
        return math.inf if pair is None else math.trunc(_seconds(pair.leaf.not_after, self._clock.now()))

    @property
    def current(self) -> KeyPair | None:
        """The pair to use, None while there is none that is valid."""
        return self._pair if self._pair is not None and self._pair.valid_at(self._clock.now()) else None

    def files(self) -> tuple[Path, Path] | None:
        """Files of the pair to use; implements the server's ``ServingCertificate``."""
        pair = self.current
        return None if pair is None else pair.files

    @property
    def server_healthy(self) -> bool:
        """Whether the API server answered the last request, be it with a refusal."""
        return self._server_healthy

    async def load(self) -> None:
        """Take what is stored; a pair that cannot be read counts as none and is asked for anew."""
        try:
            self._pair = await asyncio.to_thread(self._store.current)
        except StoreError as error:
            log.error("the stored %s certificate is not taken: %s", self.purpose.name, error)
        if self.current is None and self._initial is not None:
            self._force = True
            try:
                self._pair = await asyncio.to_thread(self._store.update, *self._initial, self._clock.now())
            except StoreError as error:
                log.error("the first %s certificate is not taken: %s", self.purpose.name, error)

    async def start(self) -> None:
        """Load, then keep it fresh in the background."""
        await self.load()
        self._tasks.forever("rotation", self._keep_fresh, pause=self._clock.sleep)

    async def stop(self) -> None:
        """Rotate no more."""
        await self._tasks.close()

    # --- when -----------------------------------------------------------------

    def due(self) -> str:
        """Why a new certificate is needed now, in words; empty when none is."""
        pair, template = self._pair, self._template()
        if template is None:
            return ""
        if pair is None:
            return "there is none"
        if self._force:
            return "the first one is to be replaced"
        missing = unsatisfied(pair.leaf, template)
        # A signer that leaves something out would do so again: such a pair lives its ordinary life.
        if missing and template != self._issued_for:
            return missing
        return "its time has come" if self._clock.now() >= self._deadline else ""

    async def _keep_fresh(self) -> None:
        self._set_deadline()
        while True:
            reason = self.due()
            if reason:
                await self._rotate(reason)
            # After a rotation too: a certificate that is due as it comes must not cause a storm.
            await self._clock.sleep(self._pause())

    def _set_deadline(self) -> None:
        if self._pair is not None:
            self._deadline = rotation_deadline(self._pair.leaf, self._random.random())
            log.info(
                "the %s certificate expires %s and is replaced %s",
                self.purpose.name, self._pair.leaf.not_after, self._deadline,
            )  # fmt: skip

    def _pause(self) -> float:
        if self.purpose is requests.SERVING or self._pair is None:
            return _TEMPLATE_CHECK
        left = _seconds(self._deadline, self._clock.now())
        return min(max(left, _TEMPLATE_CHECK), _LONGEST)

    async def _rotate(self, reason: str) -> None:
        log.info("a new %s certificate is asked for: %s", self.purpose.name, reason)
        failures = 0
        while self.due():
            try:
                await self._once()
                return
            except (ClusterError, NotIssued, StoreError, ValueError) as error:
                failures += 1
                self._failures.inc()
                told = error.retry_after if isinstance(error, Refused) else None
                wait = max(retry_wait(failures, self._random.random()), min(told or 0.0, _LONGEST))
                log.error("no new %s certificate: %s; next try in %.0f s", self.purpose.name, error, wait)
                self._journal.record(
                    "CertificateNotRotated",
                    f"there is no new {self.purpose.name} certificate",
                    cause=str(error),
                    failures=failures,
                )
                await self._clock.sleep(wait)

    # --- how ------------------------------------------------------------------

    async def _once(self) -> None:
        template = self._template()
        if template is None:
            return
        key = await asyncio.to_thread(requests.new_key)
        request = await asyncio.to_thread(requests.signing_request, key, template)
        api = self._api(self.current)
        try:
            submitted = await requests.submit(
                api, request, self.purpose.signer, requests.usages(self.purpose, key)
            )
        except ClusterError as error:
            self._server_healthy = answers(error)
            raise
        self._server_healthy = True
        log.info("%s certificate: waiting for %s to be signed", self.purpose.name, submitted.name)
        chain = await self._wait(api, submitted, template)
        if chain is None:
            return
        old = self._pair
        self._pair = await asyncio.to_thread(self._store.update, chain, key, self._clock.now())
        self._force, self._issued_for = False, template
        self._set_deadline()
        if old is not None and self._ages is not None:
            self._ages.observe(_seconds(self._clock.now(), old.leaf.not_before))
        missing = unsatisfied(self._pair.leaf, template)
        if missing:
            log.warning("the new %s certificate is not what was asked for: %s", self.purpose.name, missing)
        self._journal.record(
            "CertificateRotated",
            f"a new {self.purpose.name} certificate is in use until {self._pair.leaf.not_after}",
            cause=f"{submitted.name} was signed",
        )
        self._on_rotated(self._pair)

    async def _wait(self, api: Api, submitted: Submitted, template: Template) -> bytes | None:
        """The certificate; None when meanwhile another one is wanted."""
        waiting = self._tasks.spawn(
            submitted.name, _caught(requests.wait_issued(api, submitted, self._clock, WAIT))
        )
        try:
            while not waiting.done():
                await asyncio.wait({waiting}, timeout=_TEMPLATE_CHECK)
                if not waiting.done() and self._template() != template:
                    log.info("%s is not waited for: another certificate is wanted", submitted.name)
                    return None
        finally:
            waiting.cancel()
            # A cancellation of our own must get through this wait.
            await asyncio.wait({waiting})
        result = waiting.result()
        if isinstance(result, NotIssued):
            raise result
        return result


async def _caught(wait: Awaitable[bytes]) -> bytes | NotIssued:
    """A refusal as a value: it is no accident of the task."""
    try:
        return await wait
    except NotIssued as error:
        return error


def answers(error: ClusterError) -> bool:
    """Whether *error* tells of an API server that is there and works: it does not know us, or says no."""
    return isinstance(error, Refused) and (error.unauthorized or error.forbidden or error.not_found)


def _seconds(later: datetime, earlier: datetime) -> float:
    return (later - earlier).total_seconds()
