"""``pykubelet get pods``."""

import json
import time
from datetime import UTC, datetime

import click

from pykubelet.cli.admin_client import AdminClient, Object, short_name
from pykubelet.cli.options import client_for, namespace_option, socket_option
from pykubelet.cli.podrows import COLUMNS, WIDE, pod_row, table

#: Seconds between looks while watching.
_WATCH_PERIOD = 1.0


@click.command("get")
@click.argument("kind", type=click.Choice(["pods", "pod", "po"]))
@click.argument("names", nargs=-1)
@click.option("-A", "--all-namespaces", is_flag=True, help="Pods of all namespaces.")
@namespace_option
@click.option(
    "-o", "--output", default="", type=click.Choice(["", "wide", "json", "yaml", "name"]), help="The format."
)
@click.option("-w", "--watch", is_flag=True, help="Go on and print what changes.")
@click.option("--no-headers", is_flag=True, help="Leave the table's head out.")
@socket_option
def command(
    kind: str,
    names: tuple[str, ...],
    all_namespaces: bool,
    namespace: str,
    output: str,
    watch: bool,
    no_headers: bool,
    socket_path: str,
) -> None:
    """List the pods of this node.

    Static pods may be named without the node's name at their end.
    """
    client = client_for(socket_path)
    where = "" if all_namespaces else namespace
    pods = _chosen(client, where, names)
    if output in ("json", "yaml", "name"):
        _objects(pods, output, single=len(names) == 1)
        if watch:
            raise click.UsageError("--watch goes with tables only")
        return
    if not pods and not watch:
        message = "No resources found" if all_namespaces else f"No resources found in {namespace} namespace."
        click.echo(message, err=True)
        return
    wide = output == "wide"
    printed = _Printed(wide=wide, namespaces=all_namespaces, header=not no_headers)
    printed.show(pods)
    while watch:
        time.sleep(_WATCH_PERIOD)
        printed.changes(_chosen(client, where, names, gone_ok=True))


def _chosen(
    client: AdminClient, namespace: str, names: tuple[str, ...], *, gone_ok: bool = False
) -> list[Object]:
    pods = client.pods(namespace)
    if not names:
        return pods
    wanted = [pod for pod in pods if pod["metadata"]["name"] in names or short_name(pod) in names]
    if not gone_ok:
        found = {pod["metadata"]["name"] for pod in wanted} | {short_name(pod) for pod in wanted}
        missing = [name for name in names if name not in found]
        if missing:
            raise click.ClickException(f'pods "{missing[0]}" not found')
    return wanted


def _objects(pods: list[Object], output: str, *, single: bool) -> None:
    if output == "name":
        for pod in pods:
            click.echo(f"pod/{pod['metadata']['name']}")
        return
    items = [{"apiVersion": "v1", "kind": "Pod", **pod} for pod in pods]
    shown: Object = (
        items[0]
        if single and len(items) == 1
        else {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}
    )
    if output == "json":
        click.echo(json.dumps(shown, indent=4, ensure_ascii=False))
        return
    import yaml

    click.echo(yaml.safe_dump(shown, sort_keys=True, allow_unicode=True), nl=False)


class _Printed:
    """The table so far: what was shown, and how wide its columns are."""

    def __init__(self, *, wide: bool, namespaces: bool, header: bool) -> None:
        self._wide = wide
        self._namespaces = namespaces
        self._header = header
        self._names = (*(("NAMESPACE",) if namespaces else ()), *COLUMNS, *(WIDE if wide else ()))
        self._widths: list[int] = []
        self._shown: dict[tuple[str, str], tuple[str, ...]] = {}

    def show(self, pods: list[Object]) -> None:
        """Print *pods*."""
        now = datetime.now(UTC)
        rows = []
        for pod in pods:
            row = pod_row(pod, now)
            rows.append(row.cells(wide=self._wide, namespace=self._namespaces))
            self._shown[row.namespace, row.name] = (row.ready, row.status, row.restarts.split(" ")[0], row.ip)
        self._print(rows)

    def changes(self, pods: list[Object]) -> None:
        """Print those that look different from when they were printed last."""
        now = datetime.now(UTC)
        changed = []
        here = set()
        for pod in pods:
            row = pod_row(pod, now)
            key = (row.namespace, row.name)
            here.add(key)
            looks = (row.ready, row.status, row.restarts.split(" ")[0], row.ip)
            if self._shown.get(key) != looks:
                changed.append(pod)
        for key in self._shown.keys() - here:
            del self._shown[key]
        if changed:
            self.show(changed)

    def _print(self, rows: list[list[str]]) -> None:
        lines = table(self._names, rows, self._widths)
        columns = list(zip(self._names, *rows, strict=True))
        old = [*self._widths, *[0] * len(columns)]
        self._widths = [max(old[index], *map(len, column)) for index, column in enumerate(columns)]
        for line in lines if self._header else lines[1:]:
            click.echo(line)
        self._header = False
