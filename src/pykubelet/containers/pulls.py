"""Pulling an image: its turn, the registry's limit, the credentials one after the other, the back-off."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pykubelet.api.core import Pod
from pykubelet.api.podinfo import pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.errors import StartError
from pykubelet.base.gotext import aggregate, format_duration
from pykubelet.base.journal import Events, Journal
from pykubelet.base.metrics import Metrics
from pykubelet.cri.door import ImageService
from pykubelet.cri.errors import Code, CriError
from pykubelet.cri.types import Image
from pykubelet.rpc import cri_v1

from .credentials.keyring import Credential
from .pull_limits import PullBackoff, TokenBucket
from .settings import ContainerSettings

#: Errors that a runtime names itself, and how they are told.
_NAMED_ERRORS: Final = {
    "RegistryUnavailable": "the registry is unavailable",
    "SignatureValidationFailed": "the signature validation failed",
}
_MIB: Final = 1 << 20
_GIB: Final = 1 << 30
#: Sizes from which on the metric's label is another.
_SIZES: Final = (
    (100 * _GIB, "GT100GB"),
    (60 * _GIB, "60GB-100GB"),
    (40 * _GIB, "40GB-60GB"),
    (30 * _GIB, "30GB-40GB"),
    (20 * _GIB, "20GB-30GB"),
    (10 * _GIB, "10GB-20GB"),
    (5 * _GIB, "5GB-10GB"),
    (_GIB, "1GB-5GB"),
    (500 * _MIB, "500MB-1GB"),
    (100 * _MIB, "100MB-500MB"),
    (10 * _MIB, "10MB-100MB"),
    (0, "0-10MB"),
)
_SECONDS: Final = (1, 5, 10, 20, 30, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600)


@dataclass(frozen=True, slots=True)
class ImageNeed:
    """Who needs which image, and when it is to be pulled."""

    pod: Pod
    #: Names the container in events (``spec.containers{NAME}``); empty for a volume of the pod.
    field_path: str
    #: As the spec has it.
    image: str
    #: ``Always``, ``IfNotPresent`` or ``Never``.
    policy: str
    #: The runtime handler that the image is for; empty unless runtimes are told.
    handler: str = ""


@dataclass(slots=True)
class Pull:
    """A pull that is under way; times are monotonic seconds."""

    need: ImageNeed
    #: The name that the runtime is asked for.
    image: str
    asked: float
    #: When its turn came; None while it waits for others.
    began: float | None = None


@dataclass(frozen=True, slots=True)
class Pulled:
    """A pull that succeeded: the runtime's reference, what it tells, and the credential that was taken."""

    ref: str
    info: Image | None
    used: Credential | None


def pull_failure(image: str, error: str) -> tuple[str, str]:
    """Waiting reason and message for a failed pull."""
    for name, words in _NAMED_ERRORS.items():
        if error.startswith(name):
            return name, f"image pull failed for {image} because {words}{error.removeprefix(name)}"
    return "ErrImagePull", error


def size_label(size: int) -> str:
    """How the metric calls an image of *size* bytes."""
    return next((label for least, label in _SIZES if size > least), "N/A")


def _told(error: CriError) -> str:
    """An error without a code of its own, and the runtime's named errors, are told in its own words."""
    plain = error.code is Code.Unknown or error.message.startswith(tuple(_NAMED_ERRORS))
    return error.message if plain else str(error)


def _milliseconds(seconds: float) -> str:
    return format_duration(int(seconds * 1000) * 1_000_000)


class _PullError(Exception):
    """A pull failed; the text is for the event."""


class Pulls:
    """Pulls images, and knows which pulls are under way."""

    def __init__(
        self,
        service: ImageService,
        clock: Clock,
        journal: Journal,
        events: Events,
        settings: ContainerSettings,
        metrics: Metrics,
    ) -> None:
        self._service = service
        self._clock = clock
        self._journal = journal
        self._events = events
        self._metrics = metrics
        self._bucket = TokenBucket(settings.registry_pull_qps, settings.registry_burst)
        self._backoff = PullBackoff(settings.image_backoff_first, settings.image_backoff_last)
        at_once = 1 if settings.serialize_image_pulls else settings.max_parallel_image_pulls
        # An asyncio semaphore wakes its waiters in order: serial pulls are a queue.
        self._slots = asyncio.Semaphore(at_once) if at_once else None
        self._under_way: list[Pull] = []

    def under_way(self, uid: str = "") -> list[Pull]:
        """The pulls that go on now, for the pod of that UID or for all."""
        return [pull for pull in self._under_way if uid in ("", pull.need.pod.metadata.uid)]

    def event(self, need: ImageNeed, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Tell of the image."""
        self._events.pod_event(pod_ref(need.pod), kind, reason, message, field_path=need.field_path)

    def check_backoff(self, need: ImageNeed) -> None:
        """See that the pod may pull the image now.

        :raises StartError: it failed a short while ago.
        """
        before = self._backoff.waits(_key(need), self._clock.monotonic())
        if before is not None:
            text = f'Back-off pulling image "{need.image}"'
            self.event(need, "Normal", "BackOff", text)
            raise StartError("ImagePullBackOff", f"{text}: {before}")

    async def pull(
        self,
        need: ImageNeed,
        image: str,
        sandbox: cri_v1.PodSandboxConfig,
        credentials: Sequence[Credential],
    ) -> Pulled:
        """Pull *image* with the first of *credentials* that will do.

        :raises StartError: it failed, with the waiting reason to show.
        """
        self.event(need, "Normal", "Pulling", f'Pulling image "{need.image}"')
        try:
            async with self._turn(need, image) as pull:
                began = self._clock.monotonic()
                if not self._bucket.take(began):
                    raise _PullError("pull QPS exceeded")
                ref, used = await self._try(need, image, sandbox, credentials)
                info = await self._info(need, image)
                now = self._clock.monotonic()
                took, whole = now - began, now - pull.asked
        except _PullError as error:
            raise self._failed(need, str(error)) from error
        size = info.size if info is not None else 0
        self.event(
            need,
            "Normal",
            "Pulled",
            f'Successfully pulled image "{need.image}" in {_milliseconds(took)} '
            f"({_milliseconds(whole)} including waiting). Image size: {size} bytes.",
        )
        self._metrics.histogram(
            "kubelet_image_pull_duration_seconds",
            "Duration in seconds to pull an image.",
            ("image_size_in_bytes",),
            buckets=_SECONDS,
        ).labels(size_label(size)).observe(whole)
        self._journal.record(
            "ImagePulled",
            f"{need.image} was pulled {_with(used, len(credentials))}",
            pod=pod_ref(need.pod),
            image=need.image,
            bytes=size,
            seconds=round(took, 3),
        )
        self._backoff.forget_stale(self._clock.monotonic())
        return Pulled(ref, info, used)

    @contextlib.asynccontextmanager
    async def _turn(self, need: ImageNeed, image: str) -> AsyncGenerator[Pull, None]:
        """The pull's turn among the others."""
        pull = Pull(need, image, self._clock.monotonic())
        self._under_way.append(pull)
        self._measure()
        try:
            async with self._slots or contextlib.nullcontext():
                pull.began = self._clock.monotonic()
                self._measure()
                yield pull
        finally:
            self._under_way.remove(pull)
            self._measure()

    def _measure(self) -> None:
        waiting = sum(pull.began is None for pull in self._under_way)
        gauge = self._metrics.gauge(
            "pykubelet_image_pulls", "Image pulls that are under way, by what they do now.", ("state",)
        )
        gauge.labels("waiting").set(waiting)
        gauge.labels("pulling").set(len(self._under_way) - waiting)

    async def _try(
        self,
        need: ImageNeed,
        image: str,
        sandbox: cri_v1.PodSandboxConfig,
        credentials: Sequence[Credential],
    ) -> tuple[str, Credential | None]:
        """Pull with one credential after the other, or with none when there is none."""
        errors: list[str] = []
        for credential in credentials or (None,):
            auth = credential.message() if credential is not None else None
            try:
                ref = await self._service.pull_image(
                    image,
                    auth,
                    sandbox,
                    annotations=need.pod.metadata.annotations,
                    runtime_handler=need.handler,
                )
            except CriError as error:
                errors.append(_told(error))
            else:
                return ref, credential
        raise _PullError(aggregate(errors))

    async def _info(self, need: ImageNeed, image: str) -> Image | None:
        """What the runtime tells of a pulled image; that it cannot tell is no reason not to start."""
        try:
            return await self._service.image_status(image, runtime_handler=need.handler)
        except CriError:
            return None

    def _failed(self, need: ImageNeed, error: str) -> StartError:
        self.event(need, "Warning", "Failed", f'Failed to pull image "{need.image}": {error}')
        reason, message = pull_failure(need.image, error)
        wait = self._backoff.failed(_key(need), self._clock.monotonic(), f"{reason}: {message}")
        self._journal.record(
            "ImagePullFailed",
            f"pulling {need.image} failed, not tried again for {wait:.0f} s",
            pod=pod_ref(need.pod),
            cause=error,
            image=need.image,
            wait_seconds=wait,
        )
        return StartError(reason, message)


def _with(used: Credential | None, tried: int) -> str:
    """With whose login an image was pulled, in words."""
    if used is None:
        return "without a login"
    of = f", of {tried} that were there" if tried > 1 else ""
    source = used.source
    if source is None:
        return f"with a login that all pods of this node have{of}"
    kind = "secret" if source.kind == "secret" else "service account"
    return f"with the login of the {kind} {source.namespace}/{source.name}{of}"


def _key(need: ImageNeed) -> str:
    return f"{need.pod.metadata.uid}_{need.image}"
