"""Having a container's image on the node before it starts: pull policy, limits, back-off, events."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from pykubelet.base.clock import Clock
from pykubelet.base.errors import StartError
from pykubelet.base.gotext import format_duration
from pykubelet.base.journal import Events, Journal, PodRef
from pykubelet.cri.door import ImageService
from pykubelet.cri.errors import Code, CriError
from pykubelet.cri.types import Image
from pykubelet.rpc import cri_v1

from .image_name import with_default_tag
from .pull_limits import PullBackoff, TokenBucket
from .settings import ContainerSettings

#: Errors that a runtime names itself, and how they are told.
_NAMED_ERRORS = {
    "RegistryUnavailable": "the registry is unavailable",
    "SignatureValidationFailed": "the signature validation failed",
}


@dataclass(frozen=True, slots=True)
class ImageNeed:
    """Who needs which image, and when it is to be pulled."""

    pod: PodRef
    #: Names the container in events (``spec.containers{NAME}``).
    field_path: str
    #: As the spec has it.
    image: str
    #: ``Always``, ``IfNotPresent`` or ``Never``.
    policy: str
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EnsuredImage:
    """An image that is on the node; *info* is None when the runtime does not tell about it."""

    ref: str
    info: Image | None


def pull_failure(image: str, error: str) -> tuple[str, str]:
    """Waiting reason and message for a failed pull."""
    for name, words in _NAMED_ERRORS.items():
        if error.startswith(name):
            return name, f"image pull failed for {image} because {words}{error.removeprefix(name)}"
    return "ErrImagePull", error


def _milliseconds(seconds: float) -> str:
    return format_duration(int(seconds * 1000) * 1_000_000)


class Images:
    """Pulls images for containers."""

    def __init__(
        self,
        service: ImageService,
        clock: Clock,
        journal: Journal,
        events: Events,
        settings: ContainerSettings,
    ) -> None:
        self._service = service
        self._clock = clock
        self._journal = journal
        self._events = events
        self._bucket = TokenBucket(settings.registry_pull_qps, settings.registry_burst)
        self._backoff = PullBackoff(settings.image_backoff_first, settings.image_backoff_last)
        at_once = 1 if settings.serialize_image_pulls else settings.max_parallel_image_pulls
        # An asyncio semaphore wakes its waiters in order: serial pulls are a queue.
        self._slots = asyncio.Semaphore(at_once) if at_once else None

    def _event(self, need: ImageNeed, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self._events.pod_event(need.pod, kind, reason, message, field_path=need.field_path)

    async def ensure(self, need: ImageNeed, sandbox: cri_v1.PodSandboxConfig) -> EnsuredImage:
        """Have the image on the node.

        :raises StartError: it is not, with the waiting reason to show.
        """
        try:
            image = with_default_tag(need.image)
        except ValueError as error:
            message = f'Failed to apply default image tag "{need.image}": {error}'
            self._event(need, "Warning", "InspectFailed", message)
            raise StartError("InvalidImageName", message) from error
        if need.policy != "Always":
            found = await self._inspect(need, image)
            if found is not None:
                present = f'Container image "{need.image}" already present on machine'
                text = f"{present} and can be accessed by the pod"
                self._event(need, "Normal", "Pulled", text)
                return EnsuredImage(found.id, found)
            if need.policy == "Never":
                text = f'Container image "{need.image}" is not present with pull policy of Never'
                self._event(need, "Warning", "ErrImageNeverPull", text)
                raise StartError("ErrImageNeverPull", text)
        return await self._pull(need, image, sandbox)

    async def _inspect(self, need: ImageNeed, image: str) -> Image | None:
        try:
            return await self._service.image_status(image, annotations=need.annotations)
        except CriError as error:
            message = f'Failed to inspect image "{need.image}": {error}'
            self._event(need, "Warning", "InspectFailed", message)
            raise StartError("ImageInspectError", message) from error

    async def _pull(self, need: ImageNeed, image: str, sandbox: cri_v1.PodSandboxConfig) -> EnsuredImage:
        key = f"{need.pod.uid}_{need.image}"
        before = self._backoff.waits(key, self._clock.monotonic())
        if before is not None:
            text = f'Back-off pulling image "{need.image}"'
            self._event(need, "Normal", "BackOff", text)
            raise StartError("ImagePullBackOff", f"{text}: {before}")
        self._event(need, "Normal", "Pulling", f'Pulling image "{need.image}"')
        asked = self._clock.monotonic()

        async def pull() -> tuple[EnsuredImage, float]:
            began = self._clock.monotonic()
            if not self._bucket.take(began):
                raise _QpsExceededError
            ref = await self._service.pull_image(image, None, sandbox, annotations=need.annotations)
            return EnsuredImage(ref, await self._info(image)), self._clock.monotonic() - began

        try:
            ensured, took = await self._in_turn(pull)
        except _QpsExceededError as error:
            raise self._failed(need, key, str(error)) from error
        except CriError as error:
            # An error without a code of its own, and the runtime's named errors, are told in its own words.
            plain = error.code is Code.Unknown or error.message.startswith(tuple(_NAMED_ERRORS))
            raise self._failed(need, key, error.message if plain else str(error)) from error
        size = ensured.info.size if ensured.info is not None else 0
        whole = self._clock.monotonic() - asked
        self._event(
            need,
            "Normal",
            "Pulled",
            f'Successfully pulled image "{need.image}" in {_milliseconds(took)} '
            f"({_milliseconds(whole)} including waiting). Image size: {size} bytes.",
        )
        self._backoff.forget_stale(self._clock.monotonic())
        return ensured

    async def _in_turn(
        self, pull: Callable[[], Awaitable[tuple[EnsuredImage, float]]]
    ) -> tuple[EnsuredImage, float]:
        if self._slots is None:
            return await pull()
        async with self._slots:
            return await pull()

    async def _info(self, image: str) -> Image | None:
        """What the runtime tells of a pulled image; that it cannot tell is no reason not to start."""
        try:
            return await self._service.image_status(image)
        except CriError:
            return None

    def _failed(self, need: ImageNeed, key: str, error: str) -> StartError:
        self._event(need, "Warning", "Failed", f'Failed to pull image "{need.image}": {error}')
        reason, message = pull_failure(need.image, error)
        wait = self._backoff.failed(key, self._clock.monotonic(), f"{reason}: {message}")
        self._journal.record(
            "ImagePullFailed",
            f"pulling {need.image} failed, not tried again for {wait:.0f} s",
            pod=need.pod,
            cause=error,
            image=need.image,
            wait_seconds=wait,
        )
        return StartError(reason, message)


class _QpsExceededError(Exception):
    """More pulls a second than ``registryPullQPS`` allows."""

    def __str__(self) -> str:
        return "pull QPS exceeded"
