"""On the machine's own loop devices."""

import os
import subprocess

import pytest

from pykubelet.linux import loop

pytestmark = pytest.mark.integration


@pytest.fixture
def image(tmp_path):
    path = os.path.realpath(tmp_path / "image file")
    with open(path, "wb") as file:
        file.truncate(1 << 20)
    yield path
    loop.release(path)


def size_of(device):
    return int(subprocess.run(["blockdev", "--getsize64", device], capture_output=True, check=True).stdout)


def test_a_file_is_held_once_and_let_go(image):
    device = loop.hold(image)
    assert loop.holders(image) == [device] == [loop.hold(image)]
    assert size_of(device) == 1 << 20
    assert loop.release(image)
    assert not loop.release(image)
    assert loop.holders(image) == []


def test_one_that_losetup_made_is_found_and_one_whose_file_is_gone_too(image):
    subprocess.run(["losetup", "-f", image], check=True)
    [device] = loop.holders(image)
    assert loop.hold(image) == device
    os.unlink(image)
    assert loop.holders(image) == [device]
    assert loop.release(image)


def test_a_device_that_is_read_only_is_held(image):
    first = loop.hold(image)
    subprocess.run(["blockdev", "--setro", first], check=True)
    try:
        assert size_of(loop.hold(first)) == 1 << 20
        loop.release(first)
    finally:
        # Whoever gets the device next would have it so, too.
        subprocess.run(["blockdev", "--setrw", first], check=True)


def test_errors_name_the_path(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="missing"):
        loop.hold(str(tmp_path / "missing"))
    assert loop.holders("/x", tmp_path) == []


def test_a_free_device_that_others_take_is_asked_for_again(image, monkeypatch):
    free, taken = loop._free, loop.hold(image)
    answers = [int(taken.removeprefix("/dev/loop"))]
    monkeypatch.setattr(loop, "_free", lambda: answers.pop() if answers else free())
    assert loop.hold(taken) != taken
    assert answers == []
    loop.release(taken)
