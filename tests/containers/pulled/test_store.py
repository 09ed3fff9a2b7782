"""Records on a real disk."""

import stat
from datetime import UTC, datetime

import pytest

from pykubelet.containers.pulled import RecordStore
from pykubelet.containers.pulled.formats import PullCredentials, PulledRecord, encode_intent, file_name

RECORD = PulledRecord(
    imageRef="ref",
    lastUpdatedTime=datetime(2026, 1, 1, tzinfo=UTC),
    credentialMapping={"img": PullCredentials(nodePodsAccessible=True)},
)


@pytest.fixture
def store(tmp_path):
    made = RecordStore(tmp_path / "image_manager")
    made.load()
    return made


def again(tmp_path):
    made = RecordStore(tmp_path / "image_manager")
    made.load()
    return made


def test_what_is_written_is_read(store, tmp_path):
    store.write_intent("img")
    store.write_record(RECORD)
    found = again(tmp_path)
    assert found.intents == {"img"}
    assert found.records["ref"].credentialMapping == RECORD.credentialMapping
    directory = tmp_path / "image_manager"
    made = (directory, directory / "pulling", directory / "pulled")
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o700}
    for path in directory.glob("*/*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    store.delete_intent("img")
    store.delete_record("ref")
    store.delete_record("ref")
    assert list(directory.glob("*/*")) == []
    assert (store.intents, store.records) == (set(), {})


def test_an_older_version_is_written_anew(store, tmp_path):
    directory = tmp_path / "image_manager" / "pulling"
    path = directory / file_name("img")
    path.write_bytes(encode_intent("img").replace(b"v1beta1", b"v1alpha1"))
    assert again(tmp_path).intents == {"img"}
    assert path.read_bytes() == encode_intent("img")


def test_what_a_crash_or_a_stranger_left(store, tmp_path, caplog):
    store.write_intent("img")
    directory = tmp_path / "image_manager"
    (directory / "pulling" / "notes").write_text("x")
    (directory / "pulling" / f"{file_name('half')}.tmp").write_text('{"kind":')
    (directory / "pulling" / file_name("other")).write_bytes(encode_intent("not-other"))
    (directory / "pulled" / file_name("broken")).write_text("{")
    (directory / "pulled" / "sha256-dir").mkdir()
    found = again(tmp_path)
    assert (found.intents, found.records) == ({"img"}, {})
    assert found.unreadable("broken")
    assert not found.unreadable("ref")
    assert caplog.text.count("cannot be read") == 1
    found.write_record(PulledRecord(imageRef="broken"))
    assert not found.unreadable("broken")
    assert set(again(tmp_path).records) == {"broken"}


def test_a_failed_write_keeps_the_old_one(store, tmp_path):
    store.write_record(RECORD)
    (tmp_path / "image_manager" / "pulled" / f"{file_name('ref')}.tmp").mkdir()
    with pytest.raises(OSError, match="directory"):
        store.write_record(PulledRecord(imageRef="ref"))
    assert store.records["ref"] == RECORD
