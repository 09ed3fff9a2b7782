"""All images that a container needs: its own, and those of the image volumes that it mounts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pykubelet.api.core import Container, Pod
from pykubelet.api.objects import Secret
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events, Journal
from pykubelet.base.metrics import Metrics
from pykubelet.cri.door import ImageService
from pykubelet.rpc import cri_v1

from .credentials import Credentials
from .images import EnsuredImage, Images
from .pulled import PulledImages
from .pulls import ImageNeed, Pull, Pulls
from .settings import ContainerSettings

#: How a runtime begins its error when it is an image volume that it could not mount.
_MOUNT_FAILED: Final = "ImageVolumeMountFailed"


@dataclass(frozen=True, slots=True)
class ContainerImages:
    """The images of one container, all on the node."""

    own: EnsuredImage
    #: The images of its image volumes by the volume's name, as CRI takes them.
    volumes: Mapping[str, cri_v1.ImageSpec]


class PodImages:
    """Brings the images that containers need."""

    def __init__(
        self,
        service: ImageService,
        clock: Clock,
        journal: Journal,
        events: Events,
        settings: ContainerSettings,
        metrics: Metrics,
        credentials: Credentials,
        pulled: PulledImages | None,
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._credentials = credentials
        self._pulls = Pulls(service, clock, journal, events, settings, metrics)
        self._images = Images(service, journal, metrics, self._pulls, credentials, pulled)

    def under_way(self, uid: str = "") -> list[Pull]:
        """The pulls that go on now, for the pod of that UID or for all."""
        return self._pulls.under_way(uid)

    async def ensure(
        self, pod: Pod, container: Container, path: str, sandbox: cri_v1.PodSandboxConfig, handler: str
    ) -> ContainerImages:
        """Have all images on the node; *path* names the container in events.

        *handler* is the runtime handler that they are for; empty where runtimes are not told.

        :raises StartError: one is not there, with the waiting reason to show.
        """
        secrets = await self._credentials.pull_secrets(pod)
        volumes = await self._volumes(pod, container, sandbox, handler, secrets)
        need = ImageNeed(pod, path, container.image, container.imagePullPolicy, handler)
        return ContainerImages(await self._images.ensure(need, sandbox, secrets), volumes)

    async def _volumes(
        self,
        pod: Pod,
        container: Container,
        sandbox: cri_v1.PodSandboxConfig,
        handler: str,
        secrets: Sequence[Secret],
    ) -> dict[str, cri_v1.ImageSpec]:
        mounted = {mount.name for mount in container.volumeMounts}
        found = {}
        for volume in pod.spec.volumes:
            source = volume.image
            if source is None or volume.name not in mounted:
                continue
            need = ImageNeed(pod, "", source.reference, source.pullPolicy, handler)
            ensured = await self._images.ensure(need, sandbox, secrets)
            found[volume.name] = cri_v1.ImageSpec(
                image=ensured.ref,
                user_specified_image=source.reference,
                runtime_handler=handler,
                annotations=pod.metadata.annotations,
            )
        return found

    def created(self, images: ContainerImages, container: Container, error: str) -> None:
        """The container was made with its image volumes; or not, with that *error*."""
        if not images.volumes:
            return
        mounts = sum(mount.name in images.volumes for mount in container.volumeMounts)
        counter = self._metrics.counter
        counter("kubelet_image_volume_requested_total", "Number of requested image volumes.").inc(
            len(images.volumes)
        )
        if error.startswith(_MOUNT_FAILED):
            counter("kubelet_image_volume_mounted_errors_total", "Number of failed image volume mounts.").inc(
                mounts
            )
        else:
            counter(
                "kubelet_image_volume_mounted_succeed_total", "Number of successful image volume mounts."
            ).inc(mounts)
