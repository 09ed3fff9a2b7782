"""What every step with a CSI driver needs: paths, the cluster's objects, the driver itself.

Errors that come before a driver was asked to do something leave all *unchanged*.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from pykubelet.api.storage import CSIDriver, CSIPersistentVolumeSource, SecretReference
from pykubelet.base.apart import Apart
from pykubelet.base.clock import Clock
from pykubelet.base.errors import VolumeError
from pykubelet.base.journal import Events

from ..doors import Tokens
from . import context, lifecycle
from .capabilities import Capabilities
from .client import CsiClient
from .doors import CsiObjects
from .errors import CsiError, DriverNotFoundError
from .paths import PLUGIN, CsiPaths, attachment_name

T = TypeVar("T")

#: What stands before most texts.
HEAD: Final = f"{PLUGIN}: "


class Clients(Protocol):
    """The drivers that are registered now."""

    def client(self, name: str, *, migrated: bool = False) -> CsiClient:
        """Calls to that driver; made for one operation. *migrated* tells metrics of the volume.

        :raises DriverNotFoundError: there is no such driver now.
        """
        ...

    async def refresh(self, name: str) -> None:
        """Ask the driver again how many volumes the node can have.

        :raises VolumeError: it cannot tell, or nobody can be told.
        """
        ...


#: The part of mounting in which attachments are looked at.
_WAIT: Final = "WaitForAttach"


@dataclass(frozen=True, slots=True)
class Means:
    """Handed to every step."""

    paths: CsiPaths
    node: str
    clients: Clients
    objects: CsiObjects
    tokens: Tokens
    events: Events
    clock: Clock
    #: Runs what blocks.
    apart: Apart
    #: Whether SELinux is on: volumes have labels, by which they are mounted or which are to be changed.
    labels: bool = False

    async def off_loop(self, work: Callable[[], T]) -> T:
        """The result of *work*, which blocks."""
        return await self.apart.run(work)

    def client(self, driver: str, text: str, *, migrated: bool = False) -> CsiClient:
        """Calls to the driver; *text* stands before the cause when it is away.

        *migrated*: for a volume that was translated for the driver.

        :raises VolumeError: it is not registered now.
        """
        try:
            return self.clients.client(driver, migrated=migrated)
        except DriverNotFoundError as error:
            raise DriverAwayError(f"{text}{error}", driver) from None

    async def attached(
        self, source: CSIPersistentVolumeSource, driver: CSIDriver | None
    ) -> Mapping[str, str]:
        """See that the controller attached the volume, if it is one to be attached.

        What the controller's side of the driver said when it did so is the publish context of all
        that follows.

        :raises VolumeError: it is not attached, or that cannot be known.
        """
        if not lifecycle.attached(driver):
            return {}
        name = attachment_name(source.volumeHandle, source.driver, self.node)
        try:
            attachment = await self.objects.attachment(name)
        except VolumeError as error:
            text = lifecycle.unread(source.volumeHandle, name, str(error))
            raise VolumeError(text, real=error.real, left="unchanged", step=_WAIT) from error
        problem = lifecycle.unattached(source.volumeHandle, name, attachment)
        if problem or attachment is None:
            raise VolumeError(problem, left="unchanged", step=_WAIT)
        return attachment.status.attachmentMetadata

    async def publish_context(
        self, source: CSIPersistentVolumeSource, driver: CSIDriver | None, text: str
    ) -> Mapping[str, str]:
        """What the controller's side of the driver said when it attached the volume.

        :raises VolumeError: it cannot be known now; *text* stands before the cause.
        """
        if not lifecycle.attached(driver):
            return {}
        name = attachment_name(source.volumeHandle, source.driver, self.node)
        try:
            attachment = await self.objects.attachment(name)
        except VolumeError as error:
            raise unchanged(f"{text}{error}", error) from error
        if attachment is None:
            raise unchanged(f"{text}{lifecycle.no_attachment(name)}")
        return attachment.status.attachmentMetadata

    async def credentials(self, reference: SecretReference | None, text: str) -> dict[str, str]:
        """The values of the secret that a volume names, if it does.

        *text* stands before the cause when it cannot be had; ``{}`` in it is the secret's name.

        :raises VolumeError: it cannot be had now.
        """
        if reference is None:
            return {}
        try:
            return context.credentials(await self.objects.secret(reference.namespace, reference.name))
        except VolumeError as error:
            place = f"{reference.namespace}/{reference.name}"
            raise unchanged(
                f"{text.format(place)}: {HEAD}failed to find the secret {reference.name} "
                f"in the namespace {reference.namespace} with error: {error}",
                error,
            ) from error


def unchanged(text: str, cause: VolumeError | None = None) -> VolumeError:
    """An error of what did not even begin."""
    return VolumeError(text, real=cause.real if cause is not None else True, left="unchanged")


class DriverAwayError(VolumeError):
    """The driver is not registered; *driver* is its name. It is tried again when it comes."""

    def __init__(self, message: str, driver: str) -> None:
        super().__init__(message, left="unchanged")
        self.driver = driver


async def capabilities(client: CsiClient, text: str) -> Capabilities:
    """What the driver can do; *text* stands before the cause when it does not say.

    :raises VolumeError: the driver does not answer.
    """
    try:
        return await client.node_get_capabilities()
    except CsiError as error:
        raise unchanged(f"{text}{error}") from error
