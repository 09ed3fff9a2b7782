"""What pulling images needs of the configuration, the node's directory and the cluster."""

import asyncio
import logging

from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events, Journal
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.config import Loaded
from pykubelet.containers.credentials import (
    Credentials,
    Provider,
    ProviderConfigError,
    read_provider_config,
)
from pykubelet.containers.doors import PullSecrets, ServiceAccounts
from pykubelet.containers.pulled import Policy, PulledImages, RecordStore
from pykubelet.cri.door import ImageService
from pykubelet.wiring.startup import StartError

log = logging.getLogger(__name__)


def pulled_images(loaded: Loaded, layout: Layout, clock: Clock, metrics: Metrics) -> PulledImages | None:
    """The book of pulls; None when every pod may use every image that is on the node."""
    config = loaded.config
    if not loaded.gates.enabled("KubeletEnsureSecretPulledImages"):
        return None
    return PulledImages(
        RecordStore(layout.image_manager),
        Policy(
            config.imagePullCredentialsVerificationPolicy, tuple(config.preloadedImagesVerificationAllowlist)
        ),
        clock,
        metrics,
        intents_expected=2 * max(config.maxPods, config.maxParallelImagePulls or 0),
        records_expected=5 * config.maxPods,
    )


class ImagePulls:
    """Credentials and the book of pulls, with their starts and stops."""

    def __init__(
        self,
        loaded: Loaded,
        layout: Layout,
        clock: Clock,
        journal: Journal,
        events: Events,
        metrics: Metrics,
        secrets: PullSecrets,
        accounts: ServiceAccounts,
    ) -> None:
        self._loaded = loaded
        self._clock = clock
        self._journal = journal
        self._metrics = metrics
        self._accounts = accounts
        self.credentials = Credentials(layout.root, clock, events, secrets)
        self.pulled = pulled_images(loaded, layout, clock, metrics)

    async def start_providers(self) -> None:
        """Read the configuration of credential provider plug-ins, if one is named.

        :raises StartError: it cannot be used.
        """
        flags = self._loaded.flags
        path, bin_dir = flags.imageCredentialProviderConfig, flags.imageCredentialProviderBinDir
        if not path and not bin_dir:
            return
        tokens = self._loaded.gates.enabled("KubeletServiceAccountTokenForCredentialProviders")
        try:
            config = await asyncio.to_thread(read_provider_config, path, bin_dir, tokens=tokens)
        except ProviderConfigError as error:
            raise StartError(f"--image-credential-provider-config {path}: {error}") from error
        self._metrics.gauge(
            "kubelet_credential_provider_config_info",
            "Information about the last applied credential provider configuration with hash as label",
            ("hash",),
        ).labels(config.digest).set(1)
        self.credentials.use(
            [
                Provider(provider, bin_dir, self._clock, self._journal, self._metrics, self._accounts)
                for provider in config.providers
            ]
        )

    async def start_records(self, images: ImageService) -> None:
        """Read who pulled what, and settle what an earlier life was pulling.

        :raises StartError: the records cannot be read.
        """
        if self.pulled is None:
            return
        try:
            await self.pulled.start(images.list_images)
        except OSError as error:
            raise StartError(f"the records of image pulls cannot be read: {error}") from error

    async def stop_records(self) -> None:
        """End; what is being written is written."""
        if self.pulled is not None:
            await self.pulled.stop()
