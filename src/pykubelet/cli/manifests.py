"""What ``apply`` and ``delete`` share: manifests' names, and the daemon's refusals in words."""

import http.client
import json
from pathlib import Path
from typing import Any

import click

from pykubelet.cli.admin_client import AdminClient, Refused, path_of


def name_of(file: Path) -> str:
    """The name under which a file's manifest is pushed."""
    return file.stem.lower()


def ask(client: AdminClient, method: str, name: str, body: bytes | None = None) -> tuple[int, Any]:
    """Status and JSON of the daemon's answer about one manifest.

    :raises click.ClickException: it refuses; with its reason.
    """
    try:
        return client.ask(method, path_of("manifests", name), body)
    except Refused as error:
        try:
            status = json.loads(error.message)
            text = str(status["message"])
        except (ValueError, KeyError, TypeError):
            text = error.message
            if error.status == http.client.NOT_FOUND:
                text = "the daemon takes no manifests: start it with --enable-manifest-push"
        raise click.ClickException(f"manifest {name}: {text}") from error
