"""What pulling needs of the configuration."""

import asyncio
import json

import pytest

from pykubelet.base.clock import SystemClock
from pykubelet.base.journal import NullJournal
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.config import load
from pykubelet.containers.doors import NoPullSecrets, NoServiceAccounts
from pykubelet.wiring.image_pulls import ImagePulls, pulled_images
from pykubelet.wiring.startup import StartError


@pytest.fixture
def make(tmp_path):
    async def making(*flags):
        journal, metrics = NullJournal(), Metrics()
        made = ImagePulls(
            await asyncio.to_thread(load, [f"--root-dir={tmp_path}", *flags]),
            Layout(root=tmp_path),
            SystemClock(),
            journal,
            journal,
            metrics,
            NoPullSecrets(),
            NoServiceAccounts(),
        )
        return made, metrics

    return making


async def test_plugins_are_read_at_the_start(make, tmp_path):
    made, metrics = await make()
    await made.start_providers()
    assert "config_info" not in metrics.render().decode()
    (tmp_path / "plug").touch(0o755)
    provider = {
        "name": "plug",
        "matchImages": ["r.io"],
        "defaultCacheDuration": "1m",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
    }
    document = {
        "apiVersion": "kubelet.config.k8s.io/v1",
        "kind": "CredentialProviderConfig",
        "providers": [provider],
    }
    config = tmp_path / "providers.json"
    config.write_text(json.dumps(document))
    flags = (
        f"--image-credential-provider-config={config}",
        f"--image-credential-provider-bin-dir={tmp_path}",
    )
    made, metrics = await make(*flags)
    await made.start_providers()
    assert 'kubelet_credential_provider_config_info{hash="sha256:' in metrics.render().decode()
    config.write_text("{}")
    made, _ = await make(*flags)
    with pytest.raises(StartError, match=r"--image-credential-provider-config .*: error decoding"):
        await made.start_providers()


async def test_records_only_with_their_gate(make, tmp_path):
    layout, clock = Layout(root=tmp_path), SystemClock()
    gate = "--feature-gates=KubeletEnsureSecretPulledImages=false"
    off = await asyncio.to_thread(load, [f"--root-dir={tmp_path}", gate])
    assert pulled_images(off, layout, clock, Metrics()) is None
    made, _ = await make()
    (tmp_path / "image_manager").touch()

    class Images:
        async def list_images(self):
            return []

    with pytest.raises(StartError, match="the records of image pulls cannot be read"):
        await made.start_records(Images())
    (tmp_path / "image_manager").unlink()
    await made.start_records(Images())
    await made.stop_records()
