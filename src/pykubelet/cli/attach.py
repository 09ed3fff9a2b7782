"""``pykubelet attach``."""

import click

from pykubelet.cli.admin_client import container_spec, default_container, path_of
from pykubelet.cli.options import client_for, container_option, namespace_option, pod_argument, socket_option


@click.command("attach")
@click.argument("pod")
@click.option("-i", "--stdin", is_flag=True, help="Pass our input to the container.")
@click.option("-t", "--tty", is_flag=True, help="Our input is a terminal, as the container's.")
@container_option
@namespace_option
@socket_option
def command(pod: str, stdin: bool, tty: bool, container: str, namespace: str, socket_path: str) -> None:
    """Join the streams of a container's first process."""
    from pykubelet.cli.remote_command import Wanted, run_remote

    client = client_for(socket_path)
    found = pod_argument(client, namespace, pod)
    name = default_container(found, container)
    spec = container_spec(found, name)
    if tty and not spec.get("tty"):
        click.echo(f"error: Unable to use a TTY - container {name} did not allocate one", err=True)
    if stdin and not spec.get("stdin"):
        raise click.ClickException(f"container {name} takes no input: its spec does not say stdin: true")
    # Whether there is a terminal was settled when the container was made.
    wanted = Wanted(stdin=stdin, tty=bool(spec.get("tty")))
    if wanted.stdin and wanted.tty:
        click.echo("If you don't see a command prompt, try pressing enter.", err=True)
    path = path_of("attach", namespace, found["metadata"]["name"], name, **wanted.query())
    raise SystemExit(run_remote(client.path, path, wanted))
