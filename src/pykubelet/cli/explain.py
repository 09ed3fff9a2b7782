"""``pykubelet explain``: what was decided, in order, and why."""

import click

from pykubelet.cli.admin_client import Refused, path_of
from pykubelet.cli.options import client_for, namespace_option, pod_argument, socket_option


@click.group("explain")
def command() -> None:
    """Tell what was decided about a pod or this node, and why."""


@command.command("pod")
@click.argument("name")
@namespace_option
@socket_option
def pod(name: str, namespace: str, socket_path: str) -> None:
    """Tell the story of a pod, also of one that is gone."""
    client = client_for(socket_path)
    try:
        name = str(pod_argument(client, namespace, name)["metadata"]["name"])
    except Refused:
        raise
    except click.ClickException:
        # It may be gone, but its story is kept for a while.
        node = str(client.get("/version").get("node", ""))
        _tell_gone(socket_path, namespace, name, node)
        return
    _tell(client.get(path_of("explain", "pod", namespace, name)))


def _tell_gone(socket_path: str, namespace: str, name: str, node: str) -> None:
    client = client_for(socket_path)
    try:
        story = client.get(path_of("explain", "pod", namespace, name))
    except Refused:
        story = client.get(path_of("explain", "pod", namespace, f"{name}-{node}"))
    _tell(story)


@command.command("node")
@socket_option
def node(socket_path: str) -> None:
    """Tell the node's own story."""
    _tell(client_for(socket_path).get("/explain/node"))


def _tell(story: dict[str, list[str]]) -> None:
    for line in story["lines"]:
        click.echo(line)
