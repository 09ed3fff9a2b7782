"""Where ``up`` keeps its things, derived from its one directory."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

DEFAULT_DIR = Path("/var/lib/pykubelet/up")


@dataclass(frozen=True, slots=True)
class Places:
    """Paths of one ``up``. The default one's sockets are where ``get`` and its like look."""

    top: Path = DEFAULT_DIR

    @property
    def run(self) -> Path:
        """Directory of sockets; short whatever the length of *top*, for a socket's path is limited."""
        if self.top == DEFAULT_DIR:
            return Path("/run/pykubelet")
        return Path(f"/run/pykubelet-{hashlib.sha256(str(self.top).encode()).hexdigest()[:8]}")

    @property
    def admin_socket(self) -> Path:
        """The daemon's admin socket."""
        return self.run / "admin.sock"

    @property
    def containerd(self) -> Path:
        """The private containerd's own directory."""
        return self.top / "containerd"

    @property
    def containerd_run(self) -> Path:
        """The private containerd's directory of sockets and state."""
        return self.run / "containerd"

    @property
    def manifests(self) -> Path:
        """Where a user adds manifests unless told of another directory; never emptied by us."""
        return self.top / "manifests"

    @property
    def active(self) -> Path:
        """The daemon's manifest directory: samples and copies of the user's; emptied to end the pods."""
        return self.top / "active"

    @property
    def kubelet_root(self) -> Path:
        """The daemon's ``--root-dir``."""
        return self.top / "kubelet"

    @property
    def pod_logs(self) -> Path:
        """The daemon's ``podLogsDir``."""
        return self.top / "pod-logs"

    @property
    def certificates(self) -> Path:
        """The daemon's ``--cert-dir``."""
        return self.top / "pki"

    @property
    def config(self) -> Path:
        """The daemon's configuration file."""
        return self.top / "kubelet.yaml"

    @property
    def daemon_log(self) -> Path:
        """What the daemon prints."""
        return self.top / "kubelet.log"
