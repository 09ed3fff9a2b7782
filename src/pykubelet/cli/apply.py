"""``pykubelet apply``."""

from pathlib import Path

import click

from pykubelet.cli.manifests import ask, name_of
from pykubelet.cli.options import client_for, socket_option


@click.command("apply")
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A manifest, YAML or JSON; may be given several times.",
)
@socket_option
def command(files: tuple[Path, ...], socket_path: str) -> None:
    """Push manifests to the local daemon: each is kept under its file's name without the suffix."""
    client = client_for(socket_path)
    for file in files:
        name = name_of(file)
        status, made = ask(client, "PUT", name, file.read_bytes())
        click.echo(f"manifest/{name} {'created' if status == 201 else 'configured'}")
        for pod in made.get("pods") or []:
            click.echo(f"  pod/{pod['name']} in namespace {pod['namespace']}")
        for warning in made.get("warnings") or []:
            click.echo(f"Warning: {warning}", err=True)
