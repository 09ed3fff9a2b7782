"""The text of ``--help``, grouped and wrapped to the terminal, and of ``--version``."""

import json
import textwrap
from typing import Any

from ..base.duration import Duration
from . import values
from .defaults import legacy
from .flags import Flag, get_path
from .flagtable import all_flags
from .gates import FeatureGates, known
from .types import KubeletFlags

_INTRO = (
    "Runs the pods of this node: those in --pod-manifest-path, and with --kubeconfig those that the API "
    "server assigns to it. Most settings belong into the file of --config; the flags here win over it."
)

_KINDS = {
    values.string: "TEXT",
    values.boolean: "",
    values.int32: "N",
    values.int64: "N",
    values.level: "N",
    values.duration: "DURATION",
    values.ip: "IP",
    values.strings: "A,B,...",
    values.map_strings: "K=V,...",
    values.map_one: "K=V",
    values.map_less_than: "K<V,...",
    values.map_bools: "K=BOOL,...",
    values.multimap: "K:V,...",
    values.labels: "K=V,...",
    values.reserved_memory: "N:K=V,...",
    values.taints: "K=V:EFFECT,...",
    values.vmodule: "PATTERN=N,...",
    values.quantity: "SIZE",
    values.version: "",
}

_INDENT = 8


def help_text(width: int = 80, program: str = "kubelet") -> str:
    """Usage, every flag by group with its default, and the feature gates."""
    width = max(60, min(width, 120))
    out = [f"Usage: {program} [flags]", "", *textwrap.wrap(_INTRO, width), ""]
    group = ""
    for flag in all_flags():
        if not flag.target:
            continue
        if flag.group != group:
            group = flag.group
            out += [f"{group}:", ""]
        out += [*_entry(flag, width), ""]
    out += ["Feature gates (--feature-gates Name=true|false,...):", "", *_gates(width)]
    return "\n".join(out) + "\n"


def _entry(flag: Flag, width: int) -> list[str]:
    kind = _KINDS[flag.parse]
    short = f"-{flag.short}, " if flag.short else ""
    head = f"  {short}--{flag.name}{' ' + kind if kind else ''}"
    notes = flag.help
    default = _default(flag)
    if default:
        notes += f" Default: {default}."
    if flag.deprecated.startswith("This parameter should be set via the config file"):
        notes += f" Better set {flag.target.removeprefix('config.')} in the file of --config."
    elif flag.deprecated:
        notes += " Deprecated."
    indent = " " * _INDENT
    return [head, *textwrap.wrap(notes, width, initial_indent=indent, subsequent_indent=indent)]


def _default(flag: Flag) -> str:
    root, _, path = flag.target.partition(".")
    value: Any = get_path(legacy(FeatureGates()) if root == "config" else KubeletFlags(), path)
    if flag.parse is values.boolean:
        return str(value).lower()
    if flag.parse is values.version or (not value and not isinstance(value, int)):
        return ""
    if isinstance(value, Duration):
        return str(value)
    return ",".join(str(item) for item in value) if isinstance(value, list) else str(value)


def _gates(width: int) -> list[str]:
    names = [
        f"{name} ({gate.stage}, {'on' if gate.default else 'off'})"
        for name, gate in known().items()
        if gate.stage in ("ALPHA", "BETA") and not gate.locked
    ]
    text = "; ".join(name.replace(" ", "\0") for name in names)
    lines = textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="  ", break_long_words=False)
    return [line.replace("\0", " ") for line in lines]


def version_text(wanted: str, version: str, python: str, platform: str) -> str:
    """What ``--version[=raw|vX.Y.Z]`` prints.

    :param wanted: ``KubeletFlags.version``.
    :param version: the Kubernetes version that we are, as ``v1.36.2``.
    """
    if wanted == "raw":
        major, minor, *_ = version.removeprefix("v").split(".")
        about = {
            "major": major,
            "minor": minor,
            "gitVersion": version,
            "compiler": python,
            "platform": platform,
        }
        return json.dumps(about)
    return f"Kubernetes {wanted if wanted.startswith('v') else version}"
