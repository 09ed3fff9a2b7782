"""The book of pulls: an intent before each pull, a record after it, and who may use what is there."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from pykubelet.base.clock import Clock
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner
from pykubelet.cri.errors import CriError
from pykubelet.cri.types import Image

from ..credentials.keyring import Credential
from ..image_name import parse_image_name, without_tag
from .access import Policy, Verdict, credentials_used, judge, merged, settled
from .formats import PullCredentials
from .store import RecordStore

log = logging.getLogger(__name__)


class PulledImages:
    """Knows by whom the node's images were pulled; what it writes is written one after the other."""

    def __init__(
        self,
        store: RecordStore,
        policy: Policy,
        clock: Clock,
        metrics: Metrics,
        *,
        intents_expected: int = 220,
        records_expected: int = 550,
    ) -> None:
        """The numbers *expected* are what two of upstream's metrics take for full."""
        self._store = store
        self._policy = policy
        self._clock = clock
        self._metrics = metrics
        self._expected = (max(1, min(intents_expected, 1024)), max(1, min(records_expected, 2000)))
        #: How many pulls of an image are under way.
        self._pulling: Counter[str] = Counter()
        self._lock = asyncio.Lock()
        self._tasks = TaskOwner("pull records")

    async def start(self, list_images: Callable[[], Awaitable[Sequence[Image]]]) -> None:
        """Read the records. An image that was being pulled when a kubelet ended, and is there: it pulled it.

        :raises OSError: they cannot be read.
        """
        await asyncio.to_thread(self._store.load)
        self._measure()
        if not self._store.intents:
            return
        try:
            images = await list_images()
        except CriError as error:
            # What an intent is for counts as pulled by this kubelet meanwhile.
            log.warning("what was being pulled before the start is settled at the next one: %s", error)
            return
        for intent in sorted(self._store.intents):
            found = next((image for image in images if _is(image, intent)), None)
            if found is None:
                continue
            try:
                await self._note(intent, found.id, None)
                await self._write(partial(self._store.delete_intent, intent))
            except (OSError, ValueError) as error:
                log.error("the pull of %s before the start cannot be recorded: %s", intent, error)

    async def stop(self) -> None:
        """End; what is being written is written."""
        await asyncio.gather(*self._tasks.tasks, return_exceptions=True)
        await self._tasks.close()

    # --- a pull ---------------------------------------------------------------

    async def begin(self, image: str) -> None:
        """*image* (as the container names it) is going to be pulled.

        :raises OSError: that cannot be recorded, so it must not be pulled.
        """
        # Counted first: another pull of it that ends now must not take this one's intent away.
        self._pulling[image] += 1
        try:
            await self._write(partial(self._store.write_intent, image))
        except BaseException:
            self._end(image)
            raise

    async def pulled(self, image: str, ref: str, used: Credential | None) -> None:
        """It was pulled with that credential, and is now there as *ref*."""
        try:
            await self._note(image, ref, credentials_used(used))
        except (OSError, ValueError) as error:
            # The intent stays, so that the image counts as pulled by this kubelet; and so that no other
            # pull that fails takes it away this one counts as under way until the next start.
            log.error("the pull of %s cannot be recorded: %s", image, error)
            return
        except BaseException:
            self._end(image)
            raise
        await self.failed(image)

    async def failed(self, image: str) -> None:
        """It was not pulled."""
        if self._end(image):
            try:
                await self._write(partial(self._store.delete_intent, image))
            except OSError as error:
                log.error("the intent to pull %s cannot be removed: %s", image, error)

    def given_up(self, image: str) -> None:
        """Nobody waits for the pull any more: whether the image comes is not known, the intent stays."""
        self._end(image)

    def _end(self, image: str) -> bool:
        """One pull of it less; whether that was the last."""
        self._pulling[image] -= 1
        last = self._pulling[image] <= 0
        if last:
            del self._pulling[image]
        return last

    # --- an image that is there -----------------------------------------------

    async def must_pull(
        self, image: str, ref: str, credentials: Callable[[], Awaitable[Sequence[Credential]]]
    ) -> bool:
        """Whether the pod must pull *image* though it is there as *ref*.

        *credentials* finds the pod's; it is called only if they matter.
        """
        verdict = Verdict.ERROR
        try:
            verdict = await self._verdict(image, ref, credentials)
        finally:
            self._metrics.counter(
                "kubelet_imagemanager_image_mustpull_checks_total",
                "Counter for how many times kubelet checked whether credentials need to be re-verified "
                "to access an image",
                ("result",),
            ).labels(verdict.value).inc()
        return verdict not in {Verdict.ALLOWED_BY_POLICY, Verdict.KNOWN}

    async def _verdict(
        self, image: str, ref: str, credentials: Callable[[], Awaitable[Sequence[Credential]]]
    ) -> Verdict:
        if self._store.unreadable(ref):
            log.error("the record of the image %s (%s) cannot be read", image, ref)
            return Verdict.ERROR
        record = self._store.records.get(ref)
        ours = record is not None or self._meant(image)
        if not self._policy.verifies(image, pulled_by_kubelet=ours):
            return Verdict.ALLOWED_BY_POLICY
        try:
            name = without_tag(image)
        except ValueError:
            return Verdict.ERROR
        known = record.credentialMapping.get(name) if record is not None else None
        verdict = settled(known)
        if verdict is not None or known is None:
            return verdict or Verdict.MUST_AUTHENTICATE
        verdict, added = judge(known, await credentials())
        if added is not None:
            try:
                await self._note(image, ref, added)
            except OSError as error:
                log.error("the record of the image %s cannot be written: %s", image, error)
        return verdict

    def _meant(self, image: str) -> bool:
        """Whether a pull of the image, by whichever of its names, is under way or was cut."""
        wanted = _full(image)
        return any(_full(each) == wanted for each in (*self._pulling, *tuple(self._store.intents)))

    # --- images that are gone -------------------------------------------------

    async def prune(self, refs: Collection[str], before: datetime) -> None:
        """Forget the images that are not among *refs*, unless something was noted of them since *before*.

        *refs* are the IDs of all images that the runtime had at *before*.
        """
        # A copy, made at once: the thread that writes may add to them.
        for ref in set(self._store.records).difference(refs):
            try:
                await self._write(partial(self._forget, ref, before))
            except OSError as error:
                log.error("the record of the image %s cannot be removed: %s", ref, error)

    def _forget(self, ref: str, before: datetime) -> None:
        record = self._store.records.get(ref)
        # A time on disk has whole seconds.
        since = before.replace(microsecond=0)
        if record is not None and (record.lastUpdatedTime is None or record.lastUpdatedTime < since):
            self._store.delete_record(ref)

    # --- writing --------------------------------------------------------------

    async def _note(self, image: str, ref: str, added: PullCredentials | None) -> None:
        """Add to the record of *ref*.

        :raises ValueError: *image* is no name.
        :raises OSError: the record cannot be written.
        """
        name, now = without_tag(image), self._clock.now()

        def work() -> None:
            record = self._store.records.get(ref)
            changed = merged(record, ref, name, added, now)
            if changed is not None:
                self._store.write_record(changed)

        await self._write(work)

    async def _write(self, work: Callable[[], Any]) -> None:
        """Do *work* on a thread, after all that was asked before; it is done even if nobody waits for it."""

        async def in_turn() -> OSError | None:
            async with self._lock:
                try:
                    await asyncio.to_thread(work)
                except OSError as error:
                    return error
                self._measure()
                return None

        error = await asyncio.shield(self._tasks.spawn("write", in_turn()))
        if error is not None:
            raise error

    def _measure(self) -> None:
        gauge = self._metrics.gauge
        intents, records = len(self._store.intents), len(self._store.records)
        gauge("kubelet_imagemanager_ondisk_pullintents", "Number of ImagePullIntents stored on disk.").set(
            intents
        )
        gauge(
            "kubelet_imagemanager_ondisk_pulledrecords", "Number of ImagePulledRecords stored on disk."
        ).set(records)
        gauge(
            "kubelet_imagemanager_inmemory_pullintents_usage_percent",
            "The ImagePullIntents in-memory cache usage in percent.",
        ).set(intents * 100 // self._expected[0])
        gauge(
            "kubelet_imagemanager_inmemory_pulledrecords_usage_percent",
            "The ImagePulledRecords in-memory cache usage in percent.",
        ).set(records * 100 // self._expected[1])


def _full(name: str) -> str:
    """The full form of an image's name; what is none stays as it is."""
    try:
        parsed = parse_image_name(name)
    except ValueError:
        return name
    return f"{parsed.repository}@{parsed.digest}" if parsed.digest else f"{parsed.repository}:{parsed.tag}"


def _is(image: Image, name: str) -> bool:
    """Whether *name*, as a container has it, is one of the image's names."""
    names = {*image.repo_tags, *image.repo_digests}
    return name in names or _full(name) in names
