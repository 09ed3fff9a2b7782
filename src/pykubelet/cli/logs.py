"""``pykubelet logs``."""

import os
import re
import sys

import click

from pykubelet.base.gotext import parse_duration
from pykubelet.cli.admin_client import default_container, path_of
from pykubelet.cli.options import client_for, container_option, namespace_option, pod_argument, socket_option


@click.command("logs")
@click.argument("pod")
@click.argument("container_argument", metavar="[CONTAINER]", default="")
@container_option
@namespace_option
@click.option("-f", "--follow", is_flag=True, help="Go on as the container writes.")
@click.option("-p", "--previous", is_flag=True, help="The instance before the last restart.")
@click.option("--tail", type=int, default=-1, help="Only that many lines from the end.")
@click.option("--since", default="", metavar="DURATION", help="Only what is newer, such as 5s, 2m or 3h.")
@click.option("--since-time", default="", metavar="TIME", help="Only what is newer than an RFC 3339 time.")
@click.option("--timestamps", is_flag=True, help="Begin each line with its time.")
@click.option("--limit-bytes", type=click.IntRange(min=0), default=0, help="At most that many bytes.")
@socket_option
def command(
    pod: str,
    container_argument: str,
    container: str,
    namespace: str,
    follow: bool,
    previous: bool,
    tail: int,
    since: str,
    since_time: str,
    timestamps: bool,
    limit_bytes: int,
    socket_path: str,
) -> None:
    """Print what a container wrote."""
    client = client_for(socket_path)
    found = pod_argument(client, namespace, pod)
    name = default_container(found, container or container_argument)
    if since and since_time:
        raise click.UsageError("at most one of --since and --since-time may be used")
    path = path_of(
        "containerLogs",
        namespace,
        found["metadata"]["name"],
        name,
        follow="true" if follow else "",
        previous="true" if previous else "",
        tailLines=str(tail) if tail >= 0 else "",
        sinceSeconds=str(_seconds(since)) if since else "",
        sinceTime=since_time,
        timestamps="true" if timestamps else "",
        limitBytes=str(limit_bytes) if limit_bytes else "",
    )
    sys.stdout.flush()
    try:
        for block in client.stream(path):
            _write(block)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # Whoever read our output has had enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _write(block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(1, view) :]


def _seconds(text: str) -> int:
    if re.fullmatch(r"[0-9]+", text):
        text += "s"
    try:
        return max(1, -(-parse_duration(text) // 1_000_000_000))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from error
