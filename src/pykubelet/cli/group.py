"""The click group over every command but ``run``; a command's module is imported when it is called."""

import importlib

import click

from pykubelet import KUBELET_VERSION, __version__
from pykubelet.cli.commands import COMMANDS, RUN


class LazyGroup(click.Group):
    """Knows its commands by name only, so that ``--help`` loads none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See :class:`click.Group`."""
        return ["run", *COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See :class:`click.Group`.

        :raises click.ClickException: this installation lacks the command's module.
        """
        if cmd_name not in COMMANDS:
            return None
        module = COMMANDS[cmd_name][0]
        try:
            command: click.Command = importlib.import_module(module).command
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            raise click.ClickException(f"command {cmd_name} is not part of this installation") from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See :class:`click.Group`."""
        rows = [("run", RUN[1]), *((name, text) for name, (_, text) in COMMANDS.items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(
    __version__, "--version", message=f"pykubelet %(version)s (behaves as kubelet {KUBELET_VERSION})"
)
def group() -> None:
    """The Kubernetes node agent, and its local command line."""
