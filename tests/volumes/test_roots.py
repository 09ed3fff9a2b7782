import errno

import pytest

from pykubelet.base.layout import Layout
from pykubelet.linux import mountinfo, mounts
from pykubelet.volumes import ensure_shared_root


@pytest.mark.integration
def test_the_root_becomes_shared_once(mount_area):
    layout = Layout(root=mount_area / "kubelet")
    assert ensure_shared_root(layout)
    assert ensure_shared_root(layout)
    found = [mount for mount in mountinfo.read() if mount.mount_point == str(layout.root)]
    assert [mount.is_shared for mount in found] == [True]


def test_a_refusal_only_warns(tmp_path, monkeypatch, caplog):
    def refuse(directory):
        raise PermissionError(errno.EPERM, "Operation not permitted", str(directory))

    monkeypatch.setattr(mounts, "ensure_shared", refuse)
    assert not ensure_shared_root(Layout(root=tmp_path / "kubelet"))
    assert "mount propagation will not work" in caplog.text
    assert (tmp_path / "kubelet").is_dir()
