"""Having a container's image on the node before it starts: pull policy, credentials, who may use it."""

from collections.abc import Sequence
from dataclasses import dataclass

from pykubelet.api.objects import Secret
from pykubelet.api.podinfo import pod_ref
from pykubelet.base.errors import StartError
from pykubelet.base.journal import Journal
from pykubelet.base.metrics import Metrics
from pykubelet.cri.door import ImageService
from pykubelet.cri.errors import CriError
from pykubelet.cri.types import Image
from pykubelet.rpc import cri_v1

from .credentials import Credentials
from .credentials.keyring import Credential
from .image_name import with_default_tag
from .pulled import PulledImages
from .pulls import ImageNeed, Pulls


@dataclass(frozen=True, slots=True)
class EnsuredImage:
    """An image that is on the node; *info* is None when the runtime does not tell about it."""

    ref: str
    info: Image | None


@dataclass(slots=True)
class _Found:
    """What is counted of a request: whether the image was there, whether it had to be pulled."""

    present: bool | None = None
    required: bool | None = None


class _Lookup:
    """The pod's credentials for one image, looked up once and no earlier than needed."""

    def __init__(self, credentials: Credentials, need: ImageNeed, secrets: Sequence[Secret]) -> None:
        self._credentials = credentials
        self._need = need
        self._secrets = secrets
        self._found: list[Credential] | None = None

    async def __call__(self) -> list[Credential]:
        if self._found is None:
            try:
                self._found = await self._credentials.lookup(self._need.pod, self._need.image, self._secrets)
            except ValueError as error:
                raise StartError("ErrImagePull", str(error)) from error
        return self._found


class Images:
    """Brings images for containers and volumes."""

    def __init__(
        self,
        service: ImageService,
        journal: Journal,
        metrics: Metrics,
        pulls: Pulls,
        credentials: Credentials,
        pulled: PulledImages | None,
    ) -> None:
        """Without *pulled* whoever may run on this node may use every image that is there."""
        self._service = service
        self._journal = journal
        self._metrics = metrics
        self._pulls = pulls
        self._credentials = credentials
        self._pulled = pulled

    async def ensure(
        self, need: ImageNeed, sandbox: cri_v1.PodSandboxConfig, secrets: Sequence[Secret] = ()
    ) -> EnsuredImage:
        """Have the image on the node; *secrets* are the pod's pull secrets.

        :raises StartError: it is not, with the waiting reason to show.
        """
        found = _Found()
        try:
            return await self._ensure(need, sandbox, secrets, found)
        finally:
            self._count(need, found)

    async def _ensure(
        self, need: ImageNeed, sandbox: cri_v1.PodSandboxConfig, secrets: Sequence[Secret], found: _Found
    ) -> EnsuredImage:
        try:
            image = with_default_tag(need.image)
        except ValueError as error:
            message = f'Failed to apply default image tag "{need.image}": {error}'
            self._pulls.event(need, "Warning", "InspectFailed", message)
            raise StartError("InvalidImageName", message) from error
        lookup = _Lookup(self._credentials, need, secrets)
        if need.policy != "Always":
            there = await self._inspect(need, image)
            found.present = there is not None
            if there is None and need.policy == "Never":
                raise self._never(need)
            if there is not None:
                if not await self._must_pull(need, there, lookup):
                    found.required = False
                    return EnsuredImage(there.id, there)
                if need.policy == "Never":
                    found.required = True
                    raise self._never(need)
        found.required = True
        return await self._pull(need, image, sandbox, lookup)

    async def _inspect(self, need: ImageNeed, image: str) -> Image | None:
        try:
            return await self._service.image_status(
                image, annotations=need.pod.metadata.annotations, runtime_handler=need.handler
            )
        except CriError as error:
            message = f'Failed to inspect image "{need.image}": {error}'
            self._pulls.event(need, "Warning", "InspectFailed", message)
            raise StartError("ImageInspectError", message) from error

    def _never(self, need: ImageNeed) -> StartError:
        text = f'Container image "{need.image}" is not present with pull policy of Never'
        self._pulls.event(need, "Warning", "ErrImageNeverPull", text)
        return StartError("ErrImageNeverPull", text)

    async def _must_pull(self, need: ImageNeed, there: Image, lookup: _Lookup) -> bool:
        """Whether the pod must show at the registry that it may have the image, which is there."""
        text = f'Container image "{need.image}" already present on machine'
        if self._pulled is not None:
            if await self._pulled.must_pull(need.image, there.id, lookup):
                self._journal.record(
                    "ImageVerification",
                    f"{need.image} is on the node, but must be pulled with the pod's own credentials",
                    pod=pod_ref(need.pod),
                    cause="no record says that this pod may use it",
                    image=need.image,
                )
                return True
            text = f"{text} and can be accessed by the pod"
        self._pulls.event(need, "Normal", "Pulled", text)
        return False

    async def _pull(
        self, need: ImageNeed, image: str, sandbox: cri_v1.PodSandboxConfig, lookup: _Lookup
    ) -> EnsuredImage:
        self._pulls.check_backoff(need)
        credentials = await lookup()
        if self._pulled is None:
            done = await self._pulls.pull(need, image, sandbox, credentials)
            return EnsuredImage(done.ref, done.info)
        try:
            await self._pulled.begin(need.image)
        except OSError as error:
            text = f'Failed to record image pull intent for container image "{need.image}": {error}'
            raise StartError("ErrImagePull", text) from error
        try:
            done = await self._pulls.pull(need, image, sandbox, credentials)
        except StartError:
            await self._pulled.failed(need.image)
            raise
        except BaseException:
            self._pulled.given_up(need.image)
            raise
        # By the ID that images are looked up and listed by; some runtimes return a digest here.
        ref = done.info.id if done.info is not None else done.ref
        await self._pulled.pulled(need.image, ref, done.used)
        return EnsuredImage(done.ref, done.info)

    def _count(self, need: ImageNeed, found: _Found) -> None:
        def told(value: bool | None) -> str:
            return "unknown" if value is None else str(value).lower()

        self._metrics.counter(
            "kubelet_image_manager_ensure_image_requests_total",
            "Number of ensure-image requests processed by the kubelet.",
            ("pull_policy", "present_locally", "pull_required"),
        ).labels(need.policy.lower(), told(found.present), told(found.required)).inc()
