"""The driver as a process: ``python -m tests.csidriver --root DIR [--registry DIR]``; ends at SIGTERM."""

import argparse
import asyncio
import signal
from pathlib import Path

from tests.csidriver.driver import CsiDriver


async def _serve(root: Path, registry: Path | None) -> None:
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    async with CsiDriver(root, registry):
        print("ready", flush=True)
        await over.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.csidriver", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="the driver's files")
    parser.add_argument("--registry", type=Path, help="the kubelet's plugins_registry")
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.root, arguments.registry))


if __name__ == "__main__":
    main()
