import pytest

from pykubelet.base.errors import VolumeError
from pykubelet.base.layout import Layout
from pykubelet.volumes.csi import paths
from pykubelet.volumes.csi.paths import CsiPaths

#: sha256("h"), so that the test does not compute it as the code does.
H = "aaa9402664f1a41f40ebbc52c9993eb66aeb366602958fdfaa283b71e64db123"


@pytest.fixture
def at(tmp_path):
    return CsiPaths(Layout(root=tmp_path))


def test_where_upstream_keeps_things(at, tmp_path):
    top = f"{tmp_path}/plugins/kubernetes.io/csi"
    pod = f"{tmp_path}/pods/u"
    assert at.staging("d.io", "h") == f"{top}/d.io/{H}/globalmount"
    assert at.staged("d.io", "h") == paths.beside(at.staging("d.io", "h")) == f"{top}/d.io/{H}"
    assert at.target("u", "pv") == f"{pod}/volumes/kubernetes.io~csi/pv/mount"
    assert at.pod_volume("u", "pv") == f"{at.pod_volumes('u')}/pv" == paths.beside(at.target("u", "pv"))
    assert at.block_data("pv") == f"{top}/volumeDevices/pv/data"
    assert at.block_map("pv") == f"{top}/volumeDevices/pv/dev"
    assert at.block_staging("pv") == f"{top}/volumeDevices/staging/pv"
    assert at.block_target("u", "pv") == f"{top}/volumeDevices/publish/pv/u"
    assert at.pod_device("u", "pv") == f"{pod}/volumeDevices/kubernetes.io~csi/pv"


def test_names():
    digest = "9072ed11cc1acb5fa433a877ff339b6311d013f33bddd1d0092711a8ace5b16d"
    assert paths.attachment_name("h", "d", "n") == f"csi-{digest}"
    assert paths.attachment_name("h", "", "") == paths.inline_handle("", "h") == f"csi-{H}"
    assert paths.attachment_name("a", "b", "c") == paths.attachment_name("ab", "", "c")
    name = paths.unique_name("d.io", "a^b/c")
    assert name == "kubernetes.io/csi/d.io^a^b/c"
    assert paths.split_unique_name(name) == ("d.io", "a^b/c")


@pytest.mark.parametrize("name", ["kubernetes.io/nfs/d^h", "kubernetes.io/csi/d", "kubernetes.io/csi/^h", ""])
def test_other_plugins_names_are_refused(name):
    with pytest.raises(ValueError, match="no unique name"):
        paths.split_unique_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\0b"])
def test_names_that_lead_elsewhere(name):
    with pytest.raises(VolumeError, match=r"driver .* is not valid") as caught:
        paths.check_name("driver", name)
    assert caught.value.left == "unchanged"
