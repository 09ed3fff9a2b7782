import pytest
from tests.volumes.csi.kit import claimed

from pykubelet.api.storage import CSIDriver, CSIDriverSpec
from pykubelet.volumes.csi import selinux

LABELS = CSIDriver(spec=CSIDriverSpec(seLinuxMount=True))


@pytest.mark.parametrize(
    ("modes", "driver", "mounted"),
    [
        (["ReadWriteOncePod"], LABELS, True),
        (["ReadWriteOncePod", "ReadWriteOnce"], LABELS, False),
        (["ReadWriteOnce"], LABELS, False),
        ([], LABELS, False),
        (["ReadWriteOncePod"], CSIDriver(), False),
        (["ReadWriteOncePod"], CSIDriver(spec=CSIDriverSpec(seLinuxMount=False)), False),
        (["ReadWriteOncePod"], None, False),
    ],
)
def test_which_volumes_are_mounted_with_a_label(modes, driver, mounted):
    assert selinux.mounted_with_label(claimed(modes=modes).pv, driver) is mounted


def test_an_inline_volume_is_not():
    assert not selinux.mounted_with_label(None, LABELS)


def test_the_label_is_an_option_in_quotes():
    label = "system_u:object_r:container_file_t:s0:c1,c2"
    assert selinux.with_label(["ro"], label) == ("ro", f'context="{label}"')
    assert selinux.with_label(["ro"], "") == ("ro",)
