"""Entry point of ``pykubelet``: finds the command and loads only that one's module.

``run`` has flags of its own making and must not pay for the other commands' libraries,
so it gets its arguments before any of them is imported. Called as ``kubelet`` (a link
of that name, as kubeadm's unit file calls it), every argument is ``run``'s.
"""

import importlib
import sys
from pathlib import Path

from pykubelet.cli.commands import RUN


def main() -> None:
    """Run the command that the process was called with, and exit with its code."""
    program, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    if is_kubelet(program):
        sys.exit(_run(arguments))
    if arguments[:1] == ["run"]:
        sys.exit(_run(arguments[1:]))
    from pykubelet.cli.group import group

    group.main(args=arguments, prog_name="pykubelet")


def is_kubelet(program: str) -> bool:
    """Whether *program* is a name for the daemon alone: ``kubelet``, and what ends so but is not ours."""
    return program.endswith("kubelet") and not program.endswith("pykubelet")


def _run(arguments: list[str]) -> int:
    code: int = importlib.import_module(RUN[0]).run(arguments)
    return code
