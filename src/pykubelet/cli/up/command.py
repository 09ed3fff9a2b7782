"""``pykubelet up``: the click command."""

import os
from pathlib import Path

import click
from rich.console import Console

from pykubelet.cli.up.places import DEFAULT_DIR, Places


@click.command("up")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DIR,
    show_default=True,
    help="Directory for everything that it makes.",
)
@click.option(
    "--manifests",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Directory of pod manifests to run; followed while it runs. [default: DIR/manifests]",
)
@click.option(
    "--container-runtime-endpoint",
    "endpoint",
    default="",
    metavar="ENDPOINT",
    help="Use this runtime (unix:///...) instead of a private containerd; runs no samples.",
)
@click.option("--no-samples", is_flag=True, help="Do not run the sample pods.")
def command(directory: Path, manifests: Path | None, endpoint: str, no_samples: bool) -> None:
    """Run pods on this machine, without a cluster.

    Starts a private containerd and the daemon, runs sample pods and the manifests of a
    directory, and shows how they do. Ctrl-C ends the pods and removes everything; SIGTERM
    ends the daemon only, and a later start takes its pods over.
    """
    if os.geteuid() != 0:
        raise click.ClickException("up needs root: it starts containers")
    from pykubelet.cli.up.containerd import ContainerdError
    from pykubelet.cli.up.images import MissingBinary
    from pykubelet.cli.up.leftovers import StillThere
    from pykubelet.cli.up.session import Options, Session, UpError

    places = Places(directory.resolve())
    options = Options(
        places=places,
        manifests=(manifests or places.manifests).resolve(),
        endpoint=endpoint,
        samples=not no_samples and not endpoint,
    )
    try:
        raise SystemExit(Session(options, Console()).run())
    except (ContainerdError, MissingBinary, StillThere, UpError) as error:
        raise click.ClickException(str(error)) from error
