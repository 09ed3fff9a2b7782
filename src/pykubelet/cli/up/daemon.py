"""The daemon as ``up``'s child: in a session of its own, so that Ctrl-C reaches ``up`` alone. Blocks."""

import os
import signal
import sys
from pathlib import Path

from pykubelet.base.layout import RUN_DIR_VARIABLE
from pykubelet.cli.up.daemonconfig import daemon_arguments
from pykubelet.cli.up.leftovers import end_process, processes, spawn
from pykubelet.cli.up.places import Places


class Daemon:
    """Starts, finds and ends ``pykubelet run``; the process is known by its configuration file."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._arguments = daemon_arguments(places, Path(sys.executable))

    @property
    def pid(self) -> int | None:
        """Pid of the running daemon, whoever started it."""
        ours = self._arguments[1:]
        return next((pid for pid, found in processes() if found[1:] == ours), None)

    def start(self) -> int:
        """Start it, its output appended to the log; its pid."""
        environment = {**os.environ, RUN_DIR_VARIABLE: str(self._places.run)}
        return spawn(self._arguments, environment, self._places.daemon_log)

    def stop(self, timeout: float = 20.0) -> None:
        """End it; pods go on running. Killed when it takes longer than *timeout* seconds."""
        pid = self.pid
        if pid is not None and not end_process(pid, signal.SIGTERM, timeout):
            end_process(pid, signal.SIGKILL, 5.0)
