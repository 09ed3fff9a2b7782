"""Which sysctls pods may set: the safe ones and those that the configuration allows. Pure."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from pykubelet.api.admission import Rejection
from pykubelet.api.core import Pod

Namespace = Literal["IPC", "Net"]

_IPC_NAMES = frozenset(
    {
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.shm",
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.msg",
    }
)

#: Name → least kernel version in which it is per namespace.
_SAFE: dict[str, tuple[int, int]] = {
    "kernel.shm_rmid_forced": (0, 0),
    "net.ipv4.ip_local_port_range": (0, 0),
    "net.ipv4.tcp_syncookies": (0, 0),
    "net.ipv4.ping_group_range": (0, 0),
    "net.ipv4.ip_unprivileged_port_start": (0, 0),
    "net.ipv4.ip_local_reserved_ports": (3, 16),
    "net.ipv4.tcp_keepalive_time": (4, 5),
    "net.ipv4.tcp_fin_timeout": (4, 6),
    "net.ipv4.tcp_keepalive_intvl": (4, 5),
    "net.ipv4.tcp_keepalive_probes": (4, 5),
    "net.ipv4.tcp_rmem": (4, 15),
    "net.ipv4.tcp_wmem": (4, 15),
}

_MAX_LENGTH = 253
_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_PATTERN_TEXT = rf"({_SEGMENT}[\./])*([a-z0-9][-_a-z0-9]*)?[a-z0-9*]"
_PATTERN = re.compile(_PATTERN_TEXT, re.ASCII)
_VERSION = re.compile(r"v?(\d+)\.(\d+)", re.ASCII)
_SWAP = str.maketrans("./", "/.")


def safe_sysctls(kernel_version: str) -> tuple[str, ...]:
    """The sysctls that any pod may set under that kernel (``6.1.0-13-amd64``)."""
    match = _VERSION.match(kernel_version)
    kernel = (int(match[1]), int(match[2])) if match else (0, 0)
    return tuple(name for name, least in _SAFE.items() if kernel >= least)


def normalized(name: str) -> str:
    """The name with dots between its parts, whichever of ``.`` and ``/`` parts it."""
    first = next((character for character in name if character in "./"), ".")
    return name if first == "." else name.translate(_SWAP)


def namespace_of(name: str) -> Namespace | None:
    """The kernel namespace that the sysctl, or the prefix of many, belongs to."""
    if name in _IPC_NAMES or name.startswith("fs.mqueue."):
        return "IPC"
    return "Net" if name.startswith("net.") else None


class SysctlAllowList:
    """Rejects pods that set sysctls which are not allowed, or whose namespace is the host's."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """*patterns* are names, or prefixes that end in ``*`` (``allowedUnsafeSysctls``).

        :raises ValueError: a pattern is malformed or not known to be namespaced; upstream's text.
        """
        self._names: dict[str, Namespace] = {}
        self._prefixes: dict[str, Namespace] = {}
        for pattern in patterns:
            self._allow(pattern)

    def _allow(self, pattern: str) -> None:
        if len(pattern) > _MAX_LENGTH or not _PATTERN.fullmatch(pattern):
            raise ValueError(
                f'sysctl "{pattern}" must have at most {_MAX_LENGTH} characters '
                f"and match regex {_PATTERN_TEXT}"
            )
        name, star, _ = normalized(pattern).partition("*")
        namespace = namespace_of(name)
        if namespace is None:
            raise ValueError(f'the sysctls "{name}" are not known to be namespaced')
        (self._prefixes if star else self._names)[name] = namespace

    def admit(self, pod: Pod, others: Sequence[Pod]) -> Rejection | None:
        """See :class:`pykubelet.pods.doors.AdmitHandler`."""
        context = pod.spec.securityContext
        for sysctl in context.sysctls if context is not None else ():
            why = self._forbidden(normalized(sysctl.name), pod)
            if why:
                return Rejection("SysctlForbidden", f"forbidden sysctl: {why}")
        return None

    def _forbidden(self, name: str, pod: Pod) -> str:
        namespace = self._names.get(name) or next(
            (found for prefix, found in self._prefixes.items() if name.startswith(prefix)), None
        )
        if namespace is None:
            return f'"{name}" not allowlisted'
        of_host = pod.spec.hostIPC if namespace == "IPC" else pod.spec.hostNetwork
        return f'"{name}" not allowed with host {namespace} enabled' if of_host else ""
