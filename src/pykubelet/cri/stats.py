"""What a container runtime tells of usage, as small frozen values.

Times are nanoseconds since the epoch; a figure the runtime did not give is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pykubelet.cri.types import FilesystemUsage


@dataclass(frozen=True, slots=True)
class Pressure:
    """One line of a PSI file: total in microseconds, averages in percent."""

    total: int
    avg10: float
    avg60: float
    avg300: float


@dataclass(frozen=True, slots=True)
class PressureStats:
    """CRI PsiStats: time in which all tasks, or some, waited."""

    full: Pressure | None
    some: Pressure | None


@dataclass(frozen=True, slots=True)
class CpuUsage:
    """CRI CpuUsage: nanoseconds of CPU since start, nanocores now."""

    timestamp: int
    usage_core_nano_seconds: int | None
    usage_nano_cores: int | None
    psi: PressureStats | None = None


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """CRI MemoryUsage, in bytes and counts of faults."""

    timestamp: int
    working_set_bytes: int | None
    available_bytes: int | None
    usage_bytes: int | None
    rss_bytes: int | None
    page_faults: int | None
    major_page_faults: int | None
    psi: PressureStats | None = None


@dataclass(frozen=True, slots=True)
class SwapUsage:
    """CRI SwapUsage, in bytes."""

    timestamp: int
    available_bytes: int | None
    usage_bytes: int | None


@dataclass(frozen=True, slots=True)
class IoUsage:
    """CRI IoUsage."""

    timestamp: int
    psi: PressureStats | None


@dataclass(frozen=True, slots=True)
class InterfaceUsage:
    """CRI NetworkInterfaceUsage: bytes and errors since the interface was made."""

    name: str
    rx_bytes: int | None
    rx_errors: int | None
    tx_bytes: int | None
    tx_errors: int | None


@dataclass(frozen=True, slots=True)
class NetworkUsage:
    """CRI NetworkUsage; *default* is also among *interfaces*."""

    timestamp: int
    default: InterfaceUsage | None
    interfaces: tuple[InterfaceUsage, ...]


@dataclass(frozen=True, slots=True)
class ContainerStats:
    """CRI ContainerStats."""

    id: str
    name: str
    attempt: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    cpu: CpuUsage | None = None
    memory: MemoryUsage | None = None
    writable_layer: FilesystemUsage | None = None
    swap: SwapUsage | None = None
    io: IoUsage | None = None


@dataclass(frozen=True, slots=True)
class SandboxStats:
    """CRI PodSandboxStats with its Linux part."""

    id: str
    name: str
    namespace: str
    uid: str
    attempt: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    cpu: CpuUsage | None = None
    memory: MemoryUsage | None = None
    network: NetworkUsage | None = None
    process_count: int | None = None
    io: IoUsage | None = None
    containers: tuple[ContainerStats, ...] = ()
