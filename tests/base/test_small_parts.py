"""Atomic files, hashes, clocks and paths."""

import asyncio
import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.base.clock import LoopClock, ManualClock, SystemClock, from_ns, to_ns
from pykubelet.base.files import read_limited, write_atomic
from pykubelet.base.fnv import fnv1a
from pykubelet.base.layout import Layout

# --- files ----------------------------------------------------------------------


@pytest.mark.parametrize("fsync", [True, False])
def test_a_file_is_replaced_whole_with_its_mode(tmp_path, fsync) -> None:
    path = tmp_path / "state"
    write_atomic(path, "old", mode=0o600, fsync=fsync)
    write_atomic(path, b"new", mode=0o644, fsync=fsync)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


def test_a_file_has_no_name_until_it_is_whole(tmp_path, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr("os.fsync", lambda _: seen.append(os.listdir(tmp_path)))
    write_atomic(tmp_path / "state", "new")
    write_atomic(tmp_path / "state", "newer")
    assert seen == [[], ["state"]]
    assert (tmp_path / "state").read_text() == "newer"


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EISDIR])
def test_a_file_system_without_nameless_files_will_do(tmp_path, monkeypatch, code) -> None:
    real = os.open

    def no_nameless(path, flags, *mode, **more):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(code, os.strerror(code), path)
        return real(path, flags, *mode, **more)

    monkeypatch.setattr("os.open", no_nameless)
    for text in ("new", "newer"):
        write_atomic(tmp_path / "state", text)
        assert (tmp_path / "state").read_text() == text
    assert os.listdir(tmp_path) == ["state"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path) -> None:
    target = tmp_path / "state"
    target.mkdir()
    (target / "inside").touch()
    with pytest.raises(OSError, match="directory"):
        write_atomic(target, "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "gone" / "state", "new")


def test_reading_is_bounded_and_does_not_wait_for_a_pipe(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_limited(path, 5) == b"12345"
    with pytest.raises(ValueError, match="larger than 4 bytes"):
        read_limited(path, 4)
    with pytest.raises(OSError, match="No such file"):
        read_limited(tmp_path / "gone", 4)
    os.mkfifo(tmp_path / "pipe")
    assert read_limited(tmp_path / "pipe", 4) == b""


# --- hashes ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "bits", "value"),
    [
        (b"", 32, 0x811C9DC5),
        (b"a", 32, 0xE40C292C),
        (b"foobar", 32, 0xBF9CF968),
        (b"", 64, 0xCBF29CE484222325),
        (b"a", 64, 0xAF63DC4C8601EC8C),
        (b"foobar", 64, 0x85944171F73967E8),
        (b"", 128, 0x6C62272E07BB014262B821756295C58D),
        (b"a", 128, 0xD228CB696F1A8CAF78912B704E4A8964),
    ],
)
def test_hashes_are_those_that_the_authors_of_fnv_published(data, bits, value) -> None:
    assert fnv1a(data, bits) == value


# --- clocks ---------------------------------------------------------------------


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_nanoseconds_survive_as_datetimes_but_for_what_is_below_a_microsecond(ns) -> None:
    moment = from_ns(ns)
    assert moment.tzinfo is UTC
    assert to_ns(moment) == ns // 1000 * 1000


def test_to_ns_takes_any_zone() -> None:
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert to_ns(moment.astimezone()) == to_ns(moment)
    assert to_ns(moment + timedelta(microseconds=1)) - to_ns(moment) == 1000


async def test_a_manual_clock_only_moves_when_told() -> None:
    clock = ManualClock()
    before = clock.now()
    await clock.sleep(1.5)
    clock.advance(0.5)
    await clock.sleep(-1)
    assert clock.monotonic() == 2
    assert clock.now() - before == timedelta(seconds=2)


@pytest.mark.looptime
async def test_a_loop_clock_follows_virtual_time() -> None:
    clock = LoopClock()
    began, wall = clock.monotonic(), clock.now_ns()
    await asyncio.sleep(3600)
    await clock.sleep(60)
    assert clock.monotonic() - began == pytest.approx(3660)
    assert clock.now_ns() - wall == pytest.approx(3660e9)


async def test_the_system_clock_tells_one_time_in_both_forms() -> None:
    clock = SystemClock()
    assert abs(to_ns(clock.now()) - clock.now_ns()) < 1e9
    before = clock.monotonic()
    await clock.sleep(0.001)
    assert clock.monotonic() > before


# --- paths ----------------------------------------------------------------------


def test_the_names_of_paths_are_upstreams() -> None:
    layout = Layout(Path("/var/lib/kubelet"))
    pod = "/var/lib/kubelet/pods/u1"
    for made, expected in (
        (
            layout.pod_volume("u1", "kubernetes.io/empty-dir", "tmp"),
            f"{pod}/volumes/kubernetes.io~empty-dir/tmp",
        ),
        (layout.pod_plugin("u1", "kubernetes.io/empty-dir", "t"), f"{pod}/plugins/kubernetes.io~empty-dir/t"),
        (layout.pod_subpaths("u1"), f"{pod}/volume-subpaths"),
        (layout.pod_containers("u1"), f"{pod}/containers"),
        (layout.pod_etc_hosts("u1"), f"{pod}/etc-hosts"),
        (layout.container_log("ns", "p", "u1", "web", 3), "/var/log/pods/ns_p_u1/web/3.log"),
        (layout.container_log_link("p", "ns", "web", "abc"), "/var/log/containers/p_ns_web-abc.log"),
        (layout.plugins_registry, "/var/lib/kubelet/plugins_registry"),
        (layout.seccomp, "/var/lib/kubelet/seccomp"),
        (layout.admin_socket, "/run/pykubelet/admin.sock"),
    ):
        assert str(made) == expected


def test_a_link_to_a_log_is_never_too_long_for_a_file_system() -> None:
    link = Layout(Path("/r")).container_log_link("p" * 253, "n" * 63, "c" * 63, "0" * 64)
    assert len(link.name) == 255
    assert link.suffix == ".log"
