import json
from itertools import pairwise

import pytest

from pykubelet.config.flagtable import all_flags
from pykubelet.config.help import help_text, version_text


@pytest.mark.parametrize("width", [80, 100, 120])
def test_help_names_every_live_flag_within_the_width(width: int) -> None:
    text = help_text(width)
    for flag in all_flags():
        assert (f"--{flag.name}" in text) or not flag.target
    assert "--allow-privileged" not in text
    long = [line for line in text.splitlines() if len(line) > width and " " in line.strip()]
    assert all(line.startswith("  --") for line in long)


def test_help_has_defaults_and_groups() -> None:
    text = help_text(100)
    for part in ("Static pods:", "Eviction:", "Default: 10250.", "Default: 20s.", "EventedPLEG (ALPHA, off)"):
        assert part in text
    groups = [flag.group for flag in all_flags() if flag.target]
    assert len([a for a, b in pairwise(groups) if a != b]) + 1 == len(set(groups))


def test_version() -> None:
    assert version_text("true", "v1.36.2", "CPython", "linux/amd64") == "Kubernetes v1.36.2"
    assert version_text("v1.2.3", "v1.36.2", "CPython", "linux/amd64") == "Kubernetes v1.2.3"
    assert json.loads(version_text("raw", "v1.36.2", "CPython", "linux/amd64"))["minor"] == "36"
