"""``pykubelet check``: what would fail, and why, before anything is started."""

import os
from collections.abc import Iterator
from pathlib import Path

import click

from pykubelet.base.files import read_limited

_OK, _WARNING, _BAD = "ok", "warning", "ERROR"
#: One finding: how bad, and about what.
Finding = tuple[str, str]


@click.command("check")
@click.option("--config", "config_file", default="", metavar="FILE", help="The kubelet's configuration.")
@click.option("--config-dir", default="", metavar="DIR", help="Its drop-in directory.")
@click.argument("manifests", nargs=-1, metavar="[MANIFEST]...")
def command(config_file: str, config_dir: str, manifests: tuple[str, ...]) -> None:
    """Check a configuration and manifests (files or directories); with neither, this node.

    Unlike the daemon, which warns of them, it fails on unknown fields.
    """
    findings: list[Finding] = []
    if config_file or config_dir or not manifests:
        findings += check_config(config_file, config_dir, host=not manifests)
    for manifest in manifests:
        findings += check_manifest(Path(manifest))
    for kind, text in findings:
        click.echo(f"{kind}: {text}", err=kind == _BAD)
    if any(kind == _BAD for kind, _ in findings):
        raise SystemExit(1)


def check_config(config_file: str, config_dir: str, *, host: bool) -> Iterator[Finding]:
    """What is wrong with a configuration; with *host* also with it on this machine."""
    from pykubelet.config import ConfigError, load
    from pykubelet.server import check_standalone_auth

    arguments = [f"--config={config_file}"] if config_file else []
    arguments += [f"--config-dir={config_dir}"] if config_dir else []
    shown = config_file or config_dir or "the default configuration"
    try:
        loaded = load(arguments)
    except ConfigError as error:
        yield _BAD, f"{shown}: {error}"
        return
    for text in loaded.warnings:
        yield _BAD if text in loaded.unknown else _WARNING, f"{shown}: {text}"
    for reason in check_standalone_auth(loaded.config, loaded.flags.kubeconfig):
        yield _BAD if host else _WARNING, f"{shown}: {reason}"
    if host:
        yield from _check_host(shown, loaded.config)
    elif not loaded.unknown:
        yield _OK, f"{shown} is sound"


def _check_host(shown: str, config: object) -> Iterator[Finding]:
    from pykubelet.config import HostFacts, KubeletConfiguration, check_host
    from pykubelet.linux.addresses import AddressError
    from pykubelet.node.host import look, node_name

    assert isinstance(config, KubeletConfiguration)
    try:
        host = look(node_name(""), "", Path("/"))
    except (AddressError, OSError, ValueError) as error:
        yield _BAD, f"this node: {error}"
        return
    facts = HostFacts(host.cgroups.version, host.machine.swap_on, frozenset(os.sched_getaffinity(0)))
    reasons = check_host(config, facts)
    for reason in reasons:
        yield _BAD, f"this node: {reason}"
    if os.geteuid() != 0:
        yield _BAD, "this node: the daemon needs root"
    endpoint = config.containerRuntimeEndpoint.removeprefix("unix://")
    if endpoint.startswith("/") and not Path(endpoint).is_socket():
        yield _BAD, f"containerRuntimeEndpoint (--container-runtime-endpoint): no socket at {endpoint}"
    if not reasons:
        yield _OK, f"{shown} suits this node"


def check_manifest(path: Path) -> Iterator[Finding]:
    """What is wrong with a manifest, or with each in a directory."""
    from pykubelet.node.host import node_name
    from pykubelet.pods.sources.static import MAX_MANIFEST, Origin, read_manifests

    if path.is_dir():
        files = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
        for entry in files:
            if entry.is_file():
                yield from check_manifest(entry)
        return
    try:
        data = read_limited(path, MAX_MANIFEST)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        yield _BAD, f"{path}: {reason}"
        return
    pods, errors = read_manifests(data, Origin("file", str(path)), node_name(""))
    for problem in errors:
        yield _BAD, f"{path}: {problem}"
    for found in pods:
        name = found.pod.metadata.name
        for warning in found.warnings:
            yield _BAD, f"{path}: pod {name}: {warning}"
        if not found.warnings:
            yield _OK, f"{path}: pod {found.pod.metadata.namespace}/{name} is sound"
