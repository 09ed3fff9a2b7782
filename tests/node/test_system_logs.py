"""The journal as a process; files are tested with the server that shows them."""

import asyncio
import os
from pathlib import Path

import pytest

from pykubelet.node.system_logs import SystemLogFiles


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


async def told(logs: SystemLogFiles, *arguments: str) -> bytes:
    return b"".join([block async for block in logs.journal(arguments)])


async def test_the_journal_gets_its_arguments_and_tells_its_errors(tmp_path: Path) -> None:
    logs = SystemLogFiles(tmp_path, journalctl=program(tmp_path / "j", 'echo "$@"; echo trouble >&2; exit 1'))
    assert await told(logs, "--unit=a b", "--boot") == b"--unit=a b --boot\ntrouble\n"


async def test_units_are_known_or_not(tmp_path: Path) -> None:
    logs = SystemLogFiles(tmp_path, journalctl=program(tmp_path / "j", "echo kubelet.service"))
    assert await logs.has_unit("kubelet")
    assert not await logs.has_unit("docker")
    assert not await SystemLogFiles(tmp_path, journalctl=str(tmp_path / "none")).has_unit("kubelet")


async def test_no_journal_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await told(SystemLogFiles(tmp_path, journalctl=str(tmp_path / "none")))


async def test_a_reader_that_leaves_ends_the_process(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; exec yes"
    blocks = SystemLogFiles(tmp_path, journalctl=program(tmp_path / "j", script)).journal([])
    assert await anext(blocks)
    async with asyncio.timeout(5):
        await blocks.aclose()
    pid = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists() or os.getpid() == pid


async def test_a_file_is_read_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"0123456789")
    file = await SystemLogFiles(tmp_path).open("a.log")
    assert (file.size, file.names) == (10, None)
    assert [await file.read(0, 4), await file.read(8, 4), await file.read(10, 4)] == [b"0123", b"89", b""]
    await file.close()
