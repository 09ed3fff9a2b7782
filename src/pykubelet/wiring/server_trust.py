"""Whom the node's servers trust and by what they are trusted, where the cluster decides it."""

from collections.abc import Callable
from pathlib import Path

from pykubelet.api.node import Node
from pykubelet.base.tasks import Stage, Stages
from pykubelet.cluster.certificate_manager import CertificateManager
from pykubelet.cluster.certificate_requests import SERVING
from pykubelet.cluster.certificate_store import CertificateStore
from pykubelet.cluster.door import Api
from pykubelet.cluster.reviews import AccessReviews, TokenReviews
from pykubelet.cluster.rotation import Template, serving_template
from pykubelet.server.webhook import WebhookAuthorizer, WebhookTokens
from pykubelet.wiring.ground import Ground


class ServerTrust:
    """Tokens and rights that the API server reviews, and the serving certificate that it signs."""

    def __init__(
        self, ground: Ground, api: Api, cached: Callable[[], Node | None], on_serving: Callable[[], None]
    ) -> None:
        """*cached* is the Node as a watch brought it; *on_serving* hears of a new serving certificate."""
        config, clock, rng = ground.loaded.config, ground.clock, ground.rng
        webhook, ttls = config.authentication.webhook, config.authorization.webhook
        #: None where no tokens are taken.
        self.authenticator = (
            WebhookTokens(TokenReviews(api, clock=clock, random=rng), clock, ttl=webhook.cacheTTL.seconds)
            if webhook.enabled
            else None
        )
        #: None where the cluster is not asked.
        self.authorizer = (
            WebhookAuthorizer(
                AccessReviews(api, clock=clock, random=rng),
                clock,
                allowed_ttl=ttls.cacheAuthorizedTTL.seconds,
                denied_ttl=ttls.cacheUnauthorizedTTL.seconds,
            )
            if config.authorization.mode == "Webhook"
            else None
        )
        rotated = config.serverTLSBootstrap and ground.loaded.gates.enabled("RotateKubeletServerCertificate")
        #: None where it is given by files, or by the node itself.
        self.serving = _serving_certificate(ground, api, cached, on_serving) if rotated else None

    def stages(self, stages: Stages) -> None:
        """What is started before the servers."""
        if self.serving is not None:
            stages.add(Stage("serving certificate", start=self.serving.start, stop=self.serving.stop))
        if self.authorizer is not None:
            stages.add(Stage("authorizer", stop=self.authorizer.close))
        if self.authenticator is not None:
            stages.add(Stage("authenticator", stop=self.authenticator.close))


def _serving_certificate(
    ground: Ground, api: Api, cached: Callable[[], Node | None], on_serving: Callable[[], None]
) -> CertificateManager:
    config, flags = ground.loaded.config, ground.loaded.flags
    files = (Path(config.tlsCertFile), Path(config.tlsPrivateKeyFile))
    given = files if config.tlsCertFile and config.tlsPrivateKeyFile else None

    def template() -> Template | None:
        node = cached()
        return serving_template(
            ground.host.node_name,
            () if node is None else node.status.addresses,
            dns_only=ground.loaded.gates.enabled("AllowDNSOnlyNodeCSR"),
        )

    return CertificateManager(
        SERVING,
        CertificateStore("kubelet-server", Path(flags.certDir), fallback=given),
        template,
        lambda pair: api,
        clock=ground.clock,
        random=ground.rng,
        metrics=ground.metrics,
        journal=ground.journal,
        on_rotated=lambda pair: on_serving(),
    )
