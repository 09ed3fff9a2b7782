"""The steps of a start that belong to no room."""

import stat

import pytest

from pykubelet.base.layout import Layout
from pykubelet.server import ListenError
from pykubelet.wiring import startup
from pykubelet.wiring.startup import (
    CGROUP_V1_DEPRECATED,
    StartError,
    called,
    listening,
    prepare_host,
    tell_start,
)


@pytest.fixture
def area(tmp_path, monkeypatch):
    """Where a daemon keeps its files; no mount is made and the OOM score is a file."""
    monkeypatch.setattr(startup, "ensure_shared_root", lambda layout: None)
    monkeypatch.setattr(startup, "OOM_SCORE", tmp_path / "oom_score_adj")
    return Layout(
        root=tmp_path / "root",
        pod_logs=tmp_path / "logs",
        container_log_links=tmp_path / "links",
        run=tmp_path / "run",
    )


async def test_directories_and_the_oom_score(area, tmp_path):
    for _ in range(2):
        await prepare_host(area, -999)
    for directory in (area.root, area.pods, area.plugins, area.plugins_registry, area.pod_logs):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o750, directory
    assert stat.S_IMODE(area.container_log_links.stat().st_mode) == 0o755
    assert (tmp_path / "oom_score_adj").read_text() == "-999"


async def test_directories_of_plug_ins_are_labelled(area, monkeypatch, caplog):
    told = []

    def label(path, text):
        told.append((path, text))
        if path == area.plugins:
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("pykubelet.linux.selinux.set_file_label", label)
    await prepare_host(area, 0)
    assert told == []
    await prepare_host(area, 0, labelled=True)
    label_of_all = "system_u:object_r:container_file_t:s0"
    assert told == [(area.plugins_registry, label_of_all), (area.plugins, label_of_all)]
    assert f"{area.plugins} has no label" in caplog.text


async def test_a_directory_that_cannot_be_made(area):
    area.root.write_text("in the way")
    with pytest.raises(StartError, match=f"{area.root} cannot be made"):
        await prepare_host(area, 0)


async def test_an_oom_score_that_cannot_be_set_is_told(area, tmp_path, caplog):
    (tmp_path / "oom_score_adj").mkdir()
    await prepare_host(area, -5)
    assert "oomScoreAdj -5 was not set" in caplog.text


@pytest.mark.parametrize(("version", "reasons"), [(1, ["Starting", "CgroupV1"]), (2, ["Starting"])])
def test_what_a_start_tells(version, reasons):
    class Told:
        def __init__(self):
            self.events = []

        def node_event(self, kind, reason, message):
            self.events.append((reason, message))

    told = Told()
    tell_start(told, version)
    assert [reason for reason, _ in told.events] == reasons
    if version == 1:
        assert told.events[-1] == ("CgroupV1", CGROUP_V1_DEPRECATED)


async def test_a_server_that_cannot_listen_ends_the_start():
    async def refused():
        raise ListenError("the port is taken")

    with pytest.raises(StartError, match="the port is taken"):
        await listening(refused)()


async def test_a_start_that_needs_no_waiting():
    done = []
    await called(lambda: done.append(1))()
    assert done == [1]
