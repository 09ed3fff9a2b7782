"""``pykubelet describe pod``."""

from datetime import UTC, datetime

import click

from pykubelet.cli.admin_client import path_of
from pykubelet.cli.description import describe_pod
from pykubelet.cli.options import client_for, namespace_option, pod_argument, socket_option


@click.command("describe")
@click.argument("kind", type=click.Choice(["pod", "pods", "po"]))
@click.argument("names", nargs=-1)
@namespace_option
@socket_option
def command(kind: str, names: tuple[str, ...], namespace: str, socket_path: str) -> None:
    """Show pods in detail, with their events; all of the namespace if none is named."""
    client = client_for(socket_path)
    pods = [pod_argument(client, namespace, name) for name in names] if names else client.pods(namespace)
    if not pods:
        click.echo(f"No resources found in {namespace} namespace.", err=True)
    for index, pod in enumerate(pods):
        if index:
            click.echo("\n")
        details = client.get(path_of("details", namespace, pod["metadata"]["name"]))
        for line in describe_pod(details, datetime.now(UTC)):
            click.echo(line)
