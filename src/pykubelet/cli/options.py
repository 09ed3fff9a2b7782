"""Options that several commands share."""

from collections.abc import Callable
from typing import Any

import click

from pykubelet.cli.admin_client import AdminClient, Object, find_socket

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

socket_option: Decorator = click.option(
    "--socket", "socket_path", default="", metavar="PATH", help="The daemon's admin socket."
)
namespace_option: Decorator = click.option(
    "-n", "--namespace", default="default", show_default=True, help="The pod's namespace."
)
container_option: Decorator = click.option(
    "-c", "--container", default="", help="The container; the pod's first one if not given."
)


def client_for(socket_path: str) -> AdminClient:
    """The client that the options ask for."""
    return AdminClient(find_socket(socket_path))


def pod_argument(client: AdminClient, namespace: str, name: str) -> Object:
    """The pod that NAME, pod/NAME or pods/NAME means."""
    for prefix in ("pod/", "pods/", "po/"):
        name = name.removeprefix(prefix)
    return client.find_pod(namespace, name)
