"""Every path a node uses, derived from the directories that it is handed.

The names are upstream's, so that a node can change hands with its pods running.
"""

from dataclasses import dataclass
from pathlib import Path

#: Environment variable that names another directory of sockets than the default (:attr:`Layout.run`),
#: for the daemon as for the commands that speak to it.
RUN_DIR_VARIABLE = "PYKUBELET_RUN_DIR"


def escape_plugin(name: str) -> str:
    """A volume plug-in's name as a directory name (``kubernetes.io/csi`` → ``kubernetes.io~csi``)."""
    return name.replace("/", "~")


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one node. All directories are absolute."""

    #: The kubelet's root directory (``--root-dir``).
    root: Path
    #: Directory of pod log directories (``podLogsDir``).
    pod_logs: Path = Path("/var/log/pods")
    #: Directory of the flat links to container logs.
    container_log_links: Path = Path("/var/log/containers")
    #: Directory served as ``/logs/``.
    system_logs: Path = Path("/var/log")
    #: Directory of sockets that only this daemon makes (admin socket).
    run: Path = Path("/run/pykubelet")

    @property
    def pods(self) -> Path:
        """Directory of pod directories."""
        return self.root / "pods"

    @property
    def seccomp(self) -> Path:
        """Directory of Localhost seccomp profiles."""
        return self.root / "seccomp"

    @property
    def checkpoints(self) -> Path:
        """Archives of containers that were checkpointed."""
        return self.root / "checkpoints"

    @property
    def plugins(self) -> Path:
        """Directory of volume plug-ins' own files."""
        return self.root / "plugins"

    @property
    def plugins_registry(self) -> Path:
        """Directory where plug-ins announce their sockets."""
        return self.root / "plugins_registry"

    @property
    def admin_socket(self) -> Path:
        """The root-only socket of the local command line."""
        return self.run / "admin.sock"

    @property
    def journal_file(self) -> Path:
        """Where the decision journal is kept over restarts."""
        return self.root / "journal.jsonl"

    @property
    def allocated_state(self) -> Path:
        """Which resources are allocated to each pod; upstream's file."""
        return self.root / "allocated_pods_state"

    @property
    def image_manager(self) -> Path:
        """Records of image pulls, in upstream's format."""
        return self.root / "image_manager"

    @property
    def actuated_state(self) -> Path:
        """Which resources each container was made with or changed to; upstream's file."""
        return self.root / "actuated_pods_state"

    @property
    def pushed_manifests(self) -> Path:
        """Directory of the manifests that were pushed over the daemon's port."""
        return self.root / "pushed-manifests"

    def pod(self, uid: str) -> Path:
        """The pod's directory."""
        return self.pods / uid

    def pod_volumes(self, uid: str) -> Path:
        """Directory of the pod's volumes, one directory a plug-in below it."""
        return self.pod(uid) / "volumes"

    def pod_volume(self, uid: str, plugin: str, name: str) -> Path:
        """Directory of one volume of the pod; *plugin* is its unescaped name."""
        return self.pod_volumes(uid) / escape_plugin(plugin) / escape_plugin(name)

    def pod_devices(self, uid: str) -> Path:
        """Directory of the links to the pod's block devices, one directory a plug-in below it."""
        return self.pod(uid) / "volumeDevices"

    def pod_plugin(self, uid: str, plugin: str, name: str) -> Path:
        """Directory of a plug-in's notes on one volume of the pod (the ``ready`` marker)."""
        return self.pod(uid) / "plugins" / escape_plugin(plugin) / escape_plugin(name)

    def pod_subpaths(self, uid: str) -> Path:
        """Directory of the pod's subPath bind mounts."""
        return self.pod(uid) / "volume-subpaths"

    def pod_containers(self, uid: str) -> Path:
        """Directory of the pod's containers' files (termination messages)."""
        return self.pod(uid) / "containers"

    def pod_user_namespace(self, uid: str) -> Path:
        """Which host IDs the pod's user namespace has."""
        return self.pod(uid) / "userns"

    def pod_etc_hosts(self, uid: str) -> Path:
        """The hosts file that the pod's containers see."""
        return self.pod(uid) / "etc-hosts"

    def pod_log_dir(self, namespace: str, name: str, uid: str) -> Path:
        """The sandbox's log directory."""
        return self.pod_logs / f"{namespace}_{name}_{uid}"

    def container_log(self, namespace: str, name: str, uid: str, container: str, restart_count: int) -> Path:
        """The log file of one container instance."""
        return self.pod_log_dir(namespace, name, uid) / container / f"{restart_count}.log"

    def container_log_link(self, pod: str, namespace: str, container: str, container_id: str) -> Path:
        """The flat link to a container's log; its stem is cut to 251 characters."""
        stem = f"{pod}_{namespace}_{container}-{container_id}"
        return self.container_log_links / f"{stem[:251]}.log"
