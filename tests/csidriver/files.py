"""What a driver and its tests share through files: settings, faults to come, the calls received.

All lies below one directory, so that a driver in another process is told and asked in
the same way, and one that was killed goes on with what it had.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

#: What the driver can do unless told otherwise.
CAPABILITIES = ("STAGE_UNSTAGE_VOLUME", "GET_VOLUME_STATS", "EXPAND_VOLUME")


@dataclass
class Settings:
    """What the driver tells of itself; read anew at each call."""

    name: str = "driver.example"
    node_id: str = "node-1"
    max_volumes: int = 0
    topology: dict[str, str] = field(default_factory=dict)
    #: Names of NodeServiceCapability.RPC.
    capabilities: list[str] = field(default_factory=lambda: list(CAPABILITIES))
    #: Versions told at registration.
    versions: list[str] = field(default_factory=lambda: ["1.0.0"])
    #: Told with VOLUME_CONDITION; empty: all is well.
    condition: str = ""
    #: Type told at registration.
    plugin_type: str = "CSIPlugin"


@dataclass
class Fault:
    """What goes wrong with calls of *method*: the next *times* of them (None: all from now on)."""

    method: str
    #: Name of a grpc.StatusCode; empty: the call goes on (after the delay).
    code: str = ""
    message: str = "injected"
    times: int | None = 1
    #: Never answered while this fault is there.
    hang: bool = False
    #: Seconds before anything happens.
    delay: float = 0.0
    #: The work is done, then the error is answered.
    done: bool = False


@dataclass(frozen=True)
class Call:
    """A call that came in; *code* is how it was answered, None: not yet."""

    method: str
    request: Mapping[str, Any]
    code: str | None


class Files:
    """The shared files below *root*."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self._journal = root / "journal.jsonl"

    @property
    def csi_socket(self) -> Path:
        return self.root / "csi.sock"

    def _write(self, name: str, value: object) -> None:
        path = self.root / name
        part = path.with_name(f"{name}.part")
        part.write_text(json.dumps(value))
        part.rename(path)

    def _read(self, name: str, default: Any) -> Any:
        try:
            return json.loads((self.root / name).read_text())
        except FileNotFoundError:
            return default

    @property
    def settings(self) -> Settings:
        return Settings(**self._read("settings.json", {}))

    def set(self, **changes: Any) -> None:
        """Change settings of a driver, running or not."""
        self._write("settings.json", asdict(self.settings) | changes)

    @property
    def faults(self) -> list[Fault]:
        return [Fault(**item) for item in self._read("faults.json", [])]

    def fault(self, method: str, code: str = "", **more: Any) -> None:
        """Add a :class:`Fault`; those of one method happen in the order in which they were added."""
        self._set_faults([*self.faults, Fault(method, code, **more)])

    def no_faults(self) -> None:
        """Forget all faults; calls that hang go on."""
        self._set_faults([])

    def _set_faults(self, faults: list[Fault]) -> None:
        self._write("faults.json", [asdict(fault) for fault in faults])

    def take_fault(self, method: str) -> Fault | None:
        """The fault for a call of *method* that comes in now; counted."""
        faults = self.faults
        for index, fault in enumerate(faults):
            if fault.method != method:
                continue
            if fault.times is not None and not fault.hang:
                fault.times -= 1
                if fault.times <= 0:
                    del faults[index]
                self._set_faults(faults)
            return fault
        return None

    def hangs(self, method: str) -> bool:
        return any(fault.method == method and fault.hang for fault in self.faults)

    def _append(self, entry: Mapping[str, object]) -> None:
        with self._journal.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def record(self, method: str, request: Mapping[str, Any]) -> str:
        """A call came in; what names it to :meth:`answered`."""
        number = f"{os.getpid()}-{time.monotonic_ns()}"
        self._append({"call": number, "method": method, "request": request})
        return number

    def answered(self, number: str, code: str) -> None:
        """How a call was answered."""
        self._append({"call": number, "code": code})

    def calls(self, method: str = "") -> list[Call]:
        """The calls that came in, in their order; all, or those of one method."""
        try:
            entries = [json.loads(line) for line in self._journal.read_text().splitlines()]
        except FileNotFoundError:
            return []
        codes = {entry["call"]: entry["code"] for entry in entries if "code" in entry}
        return [
            Call(entry["method"], entry["request"], codes.get(entry["call"]))
            for entry in entries
            if "method" in entry and (not method or entry["method"] == method)
        ]

    def forget_calls(self) -> None:
        """Begin a new list of calls."""
        self._journal.unlink(missing_ok=True)
