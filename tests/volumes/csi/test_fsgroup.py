import itertools

import pytest

from pykubelet.api.storage import CSIDriver, CSIDriverSpec
from pykubelet.base.errors import VolumeError
from pykubelet.volumes.csi import fsgroup


def driver_of(policy):
    return CSIDriver(spec=CSIDriverSpec(fsGroupPolicy=policy))


def test_the_policy_of_a_driver():
    assert fsgroup.policy_of(None) == "ReadWriteOnceWithFSType"
    assert fsgroup.policy_of(driver_of("File")) == "File"
    for missing in (None, ""):
        with pytest.raises(VolumeError, match="expected valid fsGroupPolicy, received nil value or empty"):
            fsgroup.policy_of(driver_of(missing))


RWO, RWOP, RWX, ROX = "ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany", "ReadOnlyMany"


@pytest.mark.parametrize(
    ("policy", "fs_type", "modes", "applies"),
    [
        ("None", "ext4", [RWO], False),
        ("File", "", [RWX], True),
        ("File", "", [], True),
        ("ReadWriteOnceWithFSType", "ext4", [RWO], True),
        ("ReadWriteOnceWithFSType", "ext4", [RWOP], True),
        ("ReadWriteOnceWithFSType", "ext4", [RWX, RWO], True),
        ("ReadWriteOnceWithFSType", "ext4", [RWX, ROX], False),
        ("ReadWriteOnceWithFSType", "ext4", [], False),
        ("ReadWriteOnceWithFSType", "", [RWO], False),
        ("ReadWriteOnceWithFSType", "ext4", None, True),
        ("ReadWriteOnceWithFSType", "", None, False),
    ],
)
def test_when_the_kubelet_changes_the_group(policy, fs_type, modes, applies):
    found = fsgroup.applies(policy, 7, read_only=False, fs_type=fs_type, access_modes=modes)
    assert found is applies


def test_never_without_a_group_nor_read_only():
    for policy, fs_type in itertools.product(("File", "ReadWriteOnceWithFSType"), ("", "ext4")):
        for group, read_only in ((None, False), (7, True), (None, True)):
            assert not fsgroup.applies(
                policy, group, read_only=read_only, fs_type=fs_type, access_modes=[RWO]
            )
    assert fsgroup.applies("File", 0, read_only=False, fs_type="", access_modes=None)
