"""One run of ``up``: prepare, start, show, and at the end leave nothing (Ctrl-C) or the pods (SIGTERM).

Synchronous on purpose: it waits for signals and polls, and every step blocks. The
signals stay blocked and are taken when the session waits, so none cuts a step in half.
"""

import contextlib
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pykubelet.base.layout import RUN_DIR_VARIABLE
from pykubelet.cli.up.containerd import PrivateContainerd
from pykubelet.cli.up.daemon import Daemon
from pykubelet.cli.up.daemonconfig import daemon_config, free_port
from pykubelet.cli.up.images import sample_images
from pykubelet.cli.up.leftovers import remove_cgroups, remove_tree, unmount_below
from pykubelet.cli.up.mirror import Mirror
from pykubelet.cli.up.oci import pack
from pykubelet.cli.up.places import DEFAULT_DIR, Places
from pykubelet.cli.up.podtable import DaemonSilent, Row, fetch_pods, row
from pykubelet.linux.cgroup_discovery import discover

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOG_LINKS = Path("/var/log/containers")
#: Seconds that the daemon has to answer, and that pods have to become steady before the table stays.
_DAEMON_START, _STEADY = 60.0, 90.0
#: Seconds of life after which a daemon that ends by itself is started again.
_GOOD_WHILE = 5.0
#: Seconds without change that count as steady: pods appear one after the other.
_HOLD = 1.0
#: Seconds that pods get to end by themselves after Ctrl-C; a pod's own grace is 30 s by default.
_PODS_END = 60.0


class UpError(Exception):
    """Something ``up`` needs did not come about; the text says what to look at."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for; *endpoint* is empty for a private containerd."""

    places: Places
    manifests: Path
    endpoint: str
    samples: bool


def sample_manifests() -> dict[str, bytes]:
    """The sample pods' manifests, by file name."""
    folder = resources.files("pykubelet.cli.up").joinpath("samples")
    return {
        f"sample-{item.name}": item.read_bytes() for item in folder.iterdir() if item.name.endswith(".yaml")
    }


def pods_table(rows: list[Row]) -> Table:
    """The rows as kubectl's ``get pods -o wide`` would name them."""
    table = Table(box=None, pad_edge=False)
    for column in ("NAME", "READY", "STATUS", "RESTARTS", "IP"):
        table.add_column(column)
    for one in rows:
        colour = "green" if one.steady and one.status in {"Running", "Completed"} else "yellow"
        table.add_row(one.name, one.ready, f"[{colour}]{one.status}[/]", str(one.restarts), one.ip)
    return table


class Session:
    """See the module's text."""

    def __init__(self, options: Options, console: Console) -> None:
        self._options = options
        self._places = options.places
        self._console = console
        self._daemon = Daemon(options.places)
        self._containerd: PrivateContainerd | None = None
        if not options.endpoint:
            self._containerd = PrivateContainerd(
                self._places.containerd, self._places.containerd_run, name="up"
            )
        self._adopted = self._daemon.pid is not None
        self._daemon_began = 0.0
        fixed = sample_manifests() if options.samples else {}
        self._mirror = Mirror(options.manifests, self._places.active, fixed)

    def run(self) -> int:
        """Everything from the first directory to the last; the exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self._prepare()
            self._start_daemon()
            self._show_until_steady()
            self._say_what_next()
            received = self._wait()
        except _Interrupted as stop:
            received = stop.signum
        except BaseException:
            self._give_up()
            raise
        if received == signal.SIGINT:
            self._end_pods()
            self._take_down()
            self._tidy()
            self._console.print("Nothing is left running.")
            return 0
        self._daemon.stop()
        self._console.print("The daemon ended; its pods go on running. `up` again takes them over.")
        return 0

    @contextlib.contextmanager
    def _step(self, text: str) -> Iterator[None]:
        """One line of progress; a signal that came meanwhile is taken at its end."""
        began = time.monotonic()
        with self._console.status(f"{text} ..."):
            yield
        self._console.print(f"[green]✓[/] {text} [dim]({time.monotonic() - began:.1f} s)[/]")
        self._pause(0.0)

    def _pause(self, seconds: float) -> None:
        """Wait for *seconds*.

        :raises _Interrupted: one of our signals came.
        """
        received = signal.sigtimedwait(_SIGNALS, seconds)
        if received is not None:
            raise _Interrupted(received.si_signo)

    def _prepare(self) -> None:
        places = self._places
        for directory in (places.top, places.run, places.active, places.kubelet_root, places.pod_logs):
            directory.mkdir(parents=True, exist_ok=True)
        places.run.chmod(0o700)
        self._options.manifests.mkdir(parents=True, exist_ok=True)
        if self._daemon.pid is not None:
            with self._step("ending the daemon of an earlier run (its pods go on)"):
                self._daemon.stop()
        if self._containerd is not None:
            self._start_containerd(self._containerd)
        discover().create(f"/{self._cgroup_root}")
        self._mirror.sync()

    def _start_containerd(self, containerd: PrivateContainerd) -> None:
        self._adopted = self._adopted or containerd.pid is not None
        what = "adopting the private containerd" if self._adopted else "starting a private containerd"
        with self._step(what):
            containerd.start()
        with self._step("making the sample images"):
            present = containerd.ctr("images", "ls", "-q").split()
            for image in sample_images():
                if image.name not in present:
                    containerd.import_image(pack(image), image.name)

    @property
    def _cgroup_root(self) -> str:
        return self._containerd.cgroup_root if self._containerd is not None else "pykubelet-up"

    def _start_daemon(self) -> None:
        places = self._places
        text = daemon_config(
            places,
            endpoint=self._containerd.endpoint if self._containerd is not None else self._options.endpoint,
            cgroup_root=self._cgroup_root,
            port=free_port(10250),
            healthz_port=free_port(10248),
        )
        places.config.write_text(text)
        with self._step("starting the daemon"):
            self._daemon.start()
            self._daemon_began = time.monotonic()
            self._wait_until(self._answers, _DAEMON_START, "the daemon does not answer")

    def _answers(self) -> bool:
        try:
            fetch_pods(self._places.admin_socket)
            return True
        except DaemonSilent:
            self._check_daemon()
            return False

    def _check_daemon(self) -> None:
        """Notice a daemon that ended by itself.

        :raises UpError: it did; with the end of its log.
        """
        if self._daemon.pid is None:
            lines = self._places.daemon_log.read_text(errors="replace").splitlines()[-8:]
            raise UpError("the daemon ended by itself; its last words:\n  " + "\n  ".join(lines))

    def _wait_until(self, done: Callable[[], bool], timeout: float, complaint: str) -> None:
        deadline = time.monotonic() + timeout
        while not done():
            if time.monotonic() > deadline:
                raise UpError(f"{complaint} within {timeout:.0f} s; see {self._places.daemon_log}")
            self._pause(0.2)

    def _rows(self) -> list[Row]:
        with contextlib.suppress(DaemonSilent):
            return [row(pod) for pod in fetch_pods(self._places.admin_socket)]
        return []

    def _show_until_steady(self) -> None:
        """The table of pods, refreshed until each is where it will stay for a while."""
        self._console.print()
        deadline = time.monotonic() + _STEADY
        if not any(self._places.active.iterdir()):
            return
        steady_since = deadline
        with Live(console=self._console, refresh_per_second=4, transient=False) as live:
            while True:
                rows, now = self._rows(), time.monotonic()
                live.update(pods_table(rows))
                steady_since = (
                    min(steady_since, now) if rows and all(one.steady for one in rows) else deadline
                )
                if now - steady_since > _HOLD or now > deadline:
                    return
                self._mirror.sync()
                self._check_daemon()
                self._pause(0.5)

    def _say_what_next(self) -> None:
        local = Path(".venv/bin/pykubelet")
        program = local if local.exists() else Path(shutil.which("pykubelet") or "pykubelet")
        # A static pod's name ends in the node's name.
        names = [one.name for one in self._rows()]
        web = next((name for name in names if name.startswith("web-")), names[0] if names else "POD")
        crasher = next((name for name in names if name.startswith("crasher-")), web)
        commands = [
            "get pods",
            f"logs -f {web}",
            f"exec -it {web} -- sh",
            f"explain pod {crasher}",
        ]
        lines = [f"  {program} {command}" for command in commands]
        if self._places.top != DEFAULT_DIR:
            lines.insert(0, f"  export {RUN_DIR_VARIABLE}={self._places.run}")
        lines.append(f"  cp my-pod.yaml {self._options.manifests}/    # remove it again to end the pod")
        text = "\n".join(
            ["", "Try in another terminal:", *lines, "", "Ctrl-C ends the pods and leaves nothing."]
        )
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _wait(self) -> int:
        """Keep manifests in step until a signal comes; its number."""
        while True:
            try:
                self._pause(1.0)
            except _Interrupted as stop:
                return stop.signum
            self._mirror.sync()
            self._revive()

    def _revive(self) -> None:
        """Start a daemon again that ended by itself after a good while; its pods went on meanwhile.

        :raises UpError: it ended soon after its start, so that starting it again is no help.
        """
        if self._daemon.pid is None:
            if time.monotonic() - self._daemon_began < _GOOD_WHILE:
                self._check_daemon()
            self._console.print("The daemon ended by itself; its pods go on running.")
            self._start_daemon()

    def _end_pods(self) -> None:
        """Let the daemon end its pods by taking their manifests away; a second Ctrl-C cuts it short."""
        if not self._places.active.exists() or self._daemon.pid is None:
            return
        self._console.print("\nEnding the pods (Ctrl-C again to hurry) ...")
        self._mirror.empty()
        with contextlib.suppress(_Interrupted, UpError):
            self._wait_until(self._no_pods, _PODS_END, "pods did not end")

    def _no_pods(self) -> bool:
        try:
            return not fetch_pods(self._places.admin_socket)
        except DaemonSilent:
            return self._daemon.pid is None

    def _give_up(self) -> None:
        """After an error: pods of an earlier run stay for the next start, anything else goes."""
        if self._adopted:
            self._daemon.stop()
        else:
            self._take_down()

    def _take_down(self) -> None:
        """Remove the daemon, containerd, and all that they made; what the user put there stays."""
        places = self._places
        self._daemon.stop()
        if self._containerd is not None:
            self._containerd.destroy()
        else:
            remove_cgroups(self._cgroup_root)
        ours = (places.active, places.kubelet_root, places.pod_logs, places.certificates, places.run)
        unmount_below(ours)
        for directory in ours:
            remove_tree(directory)
        _remove_links_into(places.pod_logs)
        places.config.unlink(missing_ok=True)

    def _tidy(self) -> None:
        """After a good end: the log too, and directories that hold nothing of the user's."""
        self._places.daemon_log.unlink(missing_ok=True)
        emptied = [self._places.manifests, self._places.top, _LOG_LINKS]
        if self._places.top == DEFAULT_DIR:
            emptied.append(DEFAULT_DIR.parent)
        for directory in emptied:
            with contextlib.suppress(OSError):
                directory.rmdir()


class _Interrupted(Exception):
    def __init__(self, signum: int) -> None:
        super().__init__(signal.strsignal(signum))
        self.signum = signum


def _remove_links_into(directory: Path) -> None:
    """Remove links to container logs that were in *directory*."""
    with contextlib.suppress(OSError):
        for link in list(_LOG_LINKS.iterdir()):
            if link.is_symlink() and link.readlink().is_relative_to(directory):
                link.unlink(missing_ok=True)
