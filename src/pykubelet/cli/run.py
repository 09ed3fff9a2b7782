"""``pykubelet run``: the daemon's flags, help and version; the daemon itself is loaded only to be started."""

import gc
import logging
import platform
import shutil
import sys

from pykubelet import KUBELET_VERSION, __version__
from pykubelet.cli.logformat import set_up_logging
from pykubelet.config import ConfigError, Loaded, help_text, load, version_text

log = logging.getLogger(__name__)


def run(arguments: list[str]) -> int:
    """Run the daemon until SIGTERM or SIGINT; returns the exit code.

    Anything that keeps it from starting is one line on standard error, and exit code 1.
    """
    try:
        loaded = load(arguments)
    except ConfigError as error:
        return _refuse(str(error))
    if loaded.flags.help:
        sys.stdout.write(help_text(shutil.get_terminal_size().columns, "pykubelet run"))
        return 0
    if loaded.flags.version != "false":
        system = f"{platform.system().lower()}/{platform.machine()}"
        version = version_text(loaded.flags.version, KUBELET_VERSION, platform.python_version(), system)
        sys.stdout.write(f"{version.rstrip()}\n")
        return 0
    set_up_logging(loaded.config.logging.format, loaded.config.logging.verbosity)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    return _serve(loaded)


def _serve(loaded: Loaded) -> int:
    # What imports make stays: looking for garbage in it would be a tenth of the start's work.
    gc.disable()
    from pykubelet.cli import daemon

    gc.freeze()
    gc.enable()
    try:
        return daemon.serve(loaded)
    except daemon.FAILURES as error:
        log.debug("the daemon ends", exc_info=error)
        return _refuse(str(error))


def _refuse(reason: str) -> int:
    sys.stderr.write(f"pykubelet {__version__}: {reason}\n")
    return 1
