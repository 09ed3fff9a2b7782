import pytest
from tests.volumes.csi.kit import DRIVER, claimed, inline, pod_of

from pykubelet.api.meta import ObjectMeta
from pykubelet.api.storage import PersistentVolume, SecretReference
from pykubelet.api.volumes import LocalObjectReference, Volume
from pykubelet.base.errors import VolumeError
from pykubelet.volumes.csi import source
from pykubelet.volumes.csi.paths import inline_handle
from pykubelet.volumes.spec import VolumeSpec


def test_a_persistent_volume():
    spec = claimed(
        handle="h", fsType="xfs", modes=["ReadWriteMany", "ReadWriteOnce"], options=["noatime"],
        read_only=True, volumeAttributes={"a": "1"},
        nodePublishSecretRef=SecretReference(name="s", namespace="vault"),
    )  # fmt: skip
    found = source.source_of(spec, pod_of())
    assert (found.driver, found.handle, found.lifecycle) == (DRIVER, "h", "Persistent")
    assert (found.fs_type, found.access_mode, found.mount_options) == ("xfs", "ReadWriteMany", ("noatime",))
    assert found.read_only
    assert found.attributes == {"a": "1"}
    assert (found.secret.namespace, found.secret.name) == ("vault", "s")


def test_the_pods_own():
    spec = inline(
        readOnly=True, fsType="ext4", volumeAttributes={"a": "1"},
        nodePublishSecretRef=LocalObjectReference(name="s"),
    )  # fmt: skip
    found = source.source_of(spec, pod_of("uid-7"))
    assert (found.handle, found.lifecycle) == (inline_handle("uid-7", "scratch"), "Ephemeral")
    assert (found.access_mode, found.mount_options, found.fs_type) == ("ReadWriteOnce", (), "ext4")
    assert found.read_only
    # Secrets of other namespaces cannot be reached.
    assert (found.secret.namespace, found.secret.name) == ("shop", "s")
    assert source.source_of(inline(), pod_of()).secret is None


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (VolumeSpec(Volume(name="x")), "volume source not found"),
        (
            VolumeSpec(Volume(name="x"), PersistentVolume(metadata=ObjectMeta(name="pv"))),
            "volume source not found",
        ),
        (claimed(handle=""), "spec.csi.volumeHandle of persistent volume pv-1 is empty"),
        (claimed(name="../x"), "volume '../x' is not valid"),
    ],
)
def test_what_names_nothing_usable(spec, problem):
    with pytest.raises(VolumeError, match=problem) as caught:
        source.source_of(spec, pod_of())
    assert caught.value.left == "unchanged"
