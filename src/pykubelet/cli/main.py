"""Entry point of ``pykubelet``: finds the command and loads only that one's module.

``run`` has flags of its own making and must not pay for the other commands' libraries,
so it gets its arguments before any of them is imported. Called as ``kubelet`` (a link
of that name), every argument is ``run``'s.
"""

import importlib
import sys
from pathlib import Path

#: Command → (module with a click command of the name ``command``, one line for ``--help``).
COMMANDS = {
    "up": (
        "pykubelet.cli.up.command",
        "Run pods on this machine: a private containerd, samples, no cluster.",
    ),
    "check": ("pykubelet.cli.check", "Preflight of this node, a configuration or manifests."),
    "get": ("pykubelet.cli.get", "List what the local daemon runs."),
    "describe": ("pykubelet.cli.describe", "Show one pod in detail, with its events."),
    "explain": ("pykubelet.cli.explain", "Tell what was decided about a pod, and why."),
    "logs": ("pykubelet.cli.logs", "Print a container's log."),
    "exec": ("pykubelet.cli.exec", "Run a command in a container."),
    "attach": ("pykubelet.cli.attach", "Attach to a container's first process."),
    "port-forward": ("pykubelet.cli.port_forward", "Forward local ports to a pod."),
}

#: Where ``run`` is: a function ``run(arguments) -> exit code``.
RUN = ("pykubelet.cli.run", "Run the daemon; takes every flag of the kubelet.")


def main() -> None:
    """Run the command that the process was called with, and exit with its code."""
    program, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    if program == "kubelet":
        sys.exit(_run(arguments))
    if arguments[:1] == ["run"]:
        sys.exit(_run(arguments[1:]))
    from pykubelet.cli.group import group

    group.main(args=arguments, prog_name="pykubelet")


def _run(arguments: list[str]) -> int:
    code: int = importlib.import_module(RUN[0]).run(arguments)
    return code
