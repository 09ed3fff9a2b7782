import time

from pykubelet.linux.process import started_at


def test_this_process_began_a_while_ago():
    assert 0 < time.time() - started_at() < 86400


def test_what_the_kernel_tells(tmp_path):
    (tmp_path / "self").mkdir()
    fields = " ".join(["S", *(["0"] * 18), "250", "0"])
    (tmp_path / "self/stat").write_text(f"7 (a ) b) {fields}")
    (tmp_path / "stat").write_text("cpu 1 2\nbtime 1000\n")
    assert started_at(tmp_path) == 1002.5
