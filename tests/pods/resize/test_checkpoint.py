import asyncio
import errno
import os

from tests.pods.resize.test_state_file import of

from pykubelet.pods.resize import checkpoint
from pykubelet.pods.resize.amounts import PodAmounts
from pykubelet.pods.resize.checkpoint import ResourceBook
from pykubelet.pods.resize.state_file import decode_state


async def test_records_are_written_and_read_by_the_next_daemon(tmp_path):
    file = tmp_path / "allocated_pods_state"
    first = ResourceBook(file, "first")
    await first.start()
    await first.stored()
    one, whole = of(limits={"memory": "1Mi"}), of(limits={"cpu": "1"})
    first.set_container("a", "two", of())
    first.set_container("a", "one", one)
    first.set_whole("b", whole)
    await first.stored()
    expected = {"a": PodAmounts({"one": one, "two": of()}), "b": PodAmounts({}, whole)}
    assert decode_state(file.read_bytes()) == expected
    first.set("c", PodAmounts({"x": of()}))
    await first.stop()
    second = ResourceBook(file, "second")
    await second.start()
    assert second.get("c") == PodAmounts({"x": of()})
    second.keep_only({"b", "other"})
    await second.stop()
    assert decode_state(file.read_bytes()) == {"b": expected["b"]}


async def test_many_who_wait_share_few_writes(tmp_path, monkeypatch):
    writes = []
    store = "pykubelet.pods.resize.checkpoint._store"
    monkeypatch.setattr(store, lambda file, encoder, entries: writes.append(set(entries)))
    book = ResourceBook(tmp_path / "state", "book")
    await book.start()

    async def record(uid):
        book.set(uid, PodAmounts({"c": of()}))
        await book.stored()
        assert any(uid in written for written in writes)

    await asyncio.gather(*(record(f"u{number}") for number in range(50)))
    await book.stop()
    assert len(writes) <= 3


async def test_a_broken_file_is_written_anew(tmp_path):
    file = tmp_path / "actuated_pods_state"
    file.write_text("{")
    left, other = tmp_path / ".actuated_pods_state.0123abcd", tmp_path / ".allocated_pods_state.0123abcd"
    for temporary in (left, other):
        temporary.touch()
    records = ResourceBook(file, "book")
    await records.start()
    records.set_container("u", "c", of())
    await records.stop()
    assert list(decode_state(file.read_bytes())) == ["u"]
    # A daemon that was killed while it wrote left the first; the second may be another one's, now.
    assert sorted(tmp_path.iterdir()) == [other, file]


async def test_a_file_that_cannot_be_written_holds_nobody_up(tmp_path):
    book = ResourceBook(tmp_path / "gone" / "state", "book")
    await book.start()
    book.set_container("u", "c", of())
    await book.stored()
    await book.stop()


async def test_a_write_that_failed_is_tried_again(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(checkpoint, "RETRY", 0.01)
    directory = tmp_path / "root"
    book = ResourceBook(directory / "state", "book")
    await book.start()
    book.set_container("u", "c", of())
    await book.stored()
    assert os.strerror(errno.ENOENT) in caplog.text
    directory.mkdir()
    async with asyncio.timeout(10):
        while not (directory / "state").exists():
            await asyncio.sleep(0.01)
    await book.stop()
    assert decode_state((directory / "state").read_bytes()) == {"u": PodAmounts({"c": of()})}
