"""The entry point: which command runs, what is loaded for it, and what unknown ones say."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from pykubelet.cli import commands, main
from pykubelet.cli.group import group


def test_help_names_every_command_without_loading_one() -> None:
    code = (
        "import sys; from pykubelet.cli.group import group; from pykubelet.cli.commands import COMMANDS\n"
        "try: group.main(['--help'], prog_name='pykubelet')\n"
        "except SystemExit: pass\n"
        "assert not [m for m, _ in COMMANDS.values() if m in sys.modules], sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in ("run", *commands.COMMANDS):
        assert f"\n  {command} " in done.stdout


def test_the_daemon_does_not_load_the_command_lines_libraries() -> None:
    code = "import sys, pykubelet.cli.main; assert not {'click', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_command_is_told() -> None:
    result = CliRunner().invoke(group, ["fly"])
    assert result.exit_code == 2
    assert "No such command 'fly'" in result.output


def test_a_command_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(commands.COMMANDS, "top", ("pykubelet.cli.no_such_module", ""))
    result = CliRunner().invoke(group, ["top"])
    assert result.exit_code == 1
    assert "command top is not part of this installation" in result.output


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/usr/bin/pykubelet", "run", "--v=4"], ["--v=4"]),
        (["/usr/bin/kubelet", "--config=x", "run"], ["--config=x", "run"]),
        (["/usr/bin/kubelet"], []),
    ],
)
def test_run_gets_its_arguments_raw(
    argv: list[str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[list[str]] = []

    def run(arguments: list[str]) -> int:
        got.append(arguments)
        return 7

    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(main, "_run", run)
    with pytest.raises(SystemExit) as stop:
        main.main()
    assert (got, stop.value.code) == ([expected], 7)
