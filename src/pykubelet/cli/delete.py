"""``pykubelet delete``."""

from pathlib import Path

import click

from pykubelet.cli.manifests import ask, name_of
from pykubelet.cli.options import client_for, socket_option


@click.command("delete")
@click.argument("names", nargs=-1)
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A file that was pushed with `apply`; may be given several times.",
)
@socket_option
def command(names: tuple[str, ...], files: tuple[Path, ...], socket_path: str) -> None:
    """Delete manifests that were pushed; their pods end."""
    wanted = [*names, *(name_of(file) for file in files)]
    if not wanted:
        raise click.UsageError("name a manifest, or a file with -f")
    client = client_for(socket_path)
    for name in wanted:
        ask(client, "DELETE", name)
        click.echo(f"manifest/{name} deleted")
