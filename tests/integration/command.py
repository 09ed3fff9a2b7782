"""The command line, spoken to a node of a test."""

import asyncio
import os
import sys


async def start(node, *arguments):
    """A command that runs, with pipes."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pykubelet", *arguments,
        env={**os.environ, "PYKUBELET_SOCKET": str(node.layout.admin_socket)},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def call(node, *arguments, stdin=b""):
    """Exit code, output and errors of a command."""
    process = await start(node, *arguments)
    async with asyncio.timeout(30):
        output, errors = await process.communicate(stdin)
    return process.returncode, output, errors.decode()
