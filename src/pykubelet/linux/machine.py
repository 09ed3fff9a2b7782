"""Facts about the machine that a node reports: processors, memory, identity, swap."""

import contextlib
import os
import platform
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pykubelet.base.files import read_limited

from .cgroups import hugepage_sizes

# The kernel refuses reads of 4 MiB and more from /proc/sys.
_TEXT_LIMIT = 1024 * 1024

_GO_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i686": "386",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What does not change while the machine is up (swap aside)."""

    cpus: int
    #: Bytes.
    memory: int
    #: Bytes; 0 when swap is off.
    swap: int
    swap_on: bool
    #: Page size in bytes → number of pages reserved at boot or since.
    hugepages: Mapping[int, int]
    machine_id: str
    system_uuid: str
    boot_id: str
    kernel_version: str
    #: ``PRETTY_NAME`` of os-release.
    os_image: str
    operating_system: str
    #: Go's name (``amd64``).
    architecture: str
    #: Largest number of processes: the smaller of ``pid_max`` and ``threads-max``; 0 if unknown.
    max_pids: int


def read_machine(root: Path = Path("/")) -> Machine:
    """Read all facts from the files below *root*; blocking.

    :raises OSError: ``/proc/meminfo`` or ``/proc/cpuinfo`` cannot be read.
    :raises ValueError: ``/proc/meminfo`` has no MemTotal.
    """
    memory = parse_meminfo(_text(root / "proc/meminfo"))
    if "MemTotal" not in memory:
        raise ValueError("/proc/meminfo has no MemTotal")
    uname = platform.uname()
    return Machine(
        cpus=_cpus(root),
        memory=memory["MemTotal"],
        swap=memory.get("SwapTotal", 0),
        swap_on=len(_optional(root / "proc/swaps").strip().splitlines()) > 1,
        hugepages=_hugepages(root),
        machine_id=_first(root, "etc/machine-id", "var/lib/dbus/machine-id"),
        system_uuid=_system_uuid(root),
        boot_id=_first(root, "proc/sys/kernel/random/boot_id"),
        kernel_version=_first(root, "proc/sys/kernel/osrelease") or uname.release,
        os_image=_os_image(root),
        operating_system="linux",
        architecture=_GO_ARCHITECTURES.get(uname.machine, uname.machine),
        max_pids=_max_pids(root),
    )


def parse_meminfo(text: str) -> dict[str, int]:
    """``/proc/meminfo`` in bytes."""
    values = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdecimal():
            values[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return values


def parse_os_release(text: str) -> dict[str, str]:
    """os-release(5) as a mapping; lines that are not assignments are left out."""
    values = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or name.startswith("#"):
            continue
        try:
            values[name] = "".join(shlex.split(value)) if value[:1] in {'"', "'"} else value
        except ValueError:
            continue
    return values


def _cpus(root: Path) -> int:
    online = _optional(root / "sys/devices/system/cpu/online").strip()
    if online:
        return count_cpus(online)
    processors = [line for line in _text(root / "proc/cpuinfo").splitlines() if line.startswith("processor")]
    return len(processors) or os.cpu_count() or 1


def count_cpus(ranges: str) -> int:
    """How many CPUs a kernel list (``0-3,8``) names.

    :raises ValueError: it is no such list.
    """
    count = 0
    for part in ranges.split(","):
        low, dash, high = part.partition("-")
        count += int(high) - int(low) + 1 if dash else int(bool(low) and int(low) >= 0)
    return count


def _hugepages(root: Path) -> dict[int, int]:
    counts = {}
    for size in hugepage_sizes(root):
        text = _first(root, f"sys/kernel/mm/hugepages/hugepages-{size // 1024}kB/nr_hugepages")
        counts[size] = int(text) if text.isdecimal() else 0
    return counts


def _system_uuid(root: Path) -> str:
    return (
        _first(root, "sys/class/dmi/id/product_uuid")
        or _first(root, "proc/device-tree/system-id", "proc/device-tree/vm,uuid")
        or _first(root, "etc/machine-id")
    )


def _os_image(root: Path) -> str:
    for name in ("etc/os-release", "usr/lib/os-release"):
        values = parse_os_release(_optional(root / name))
        if values.get("PRETTY_NAME"):
            return values["PRETTY_NAME"]
    return "Linux"


def _max_pids(root: Path) -> int:
    texts = (_first(root, f"proc/sys/kernel/{name}") for name in ("pid_max", "threads-max"))
    return min((int(text) for text in texts if text.isdecimal()), default=0)


def _first(root: Path, *names: str) -> str:
    """The stripped text of the first of the files that has any."""
    for name in names:
        text = _optional(root / name).strip().rstrip("\0")
        if text:
            return text
    return ""


def _optional(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return _text(path)
    return ""


def _text(path: Path) -> str:
    return read_limited(path, _TEXT_LIMIT).decode(errors="replace")
