"""``pykubelet exec``."""

import click

from pykubelet.cli.admin_client import default_container, path_of
from pykubelet.cli.options import client_for, container_option, namespace_option, pod_argument, socket_option

_WORDS = "pykubelet.exec.words"


class _Exec(click.Command):
    """Options may stand on both sides of the pod's name; what follows ``--`` is the command's alone."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See :class:`click.Command`."""
        ctx.meta[_WORDS] = None
        if "--" in args:
            at = args.index("--")
            ctx.meta[_WORDS] = tuple(args[at + 1 :])
            args = args[:at]
        # Without "--" the command begins after the pod's name, with all its own options.
        ctx.allow_interspersed_args = ctx.meta[_WORDS] is not None
        return super().parse_args(ctx, args)


@click.command("exec", cls=_Exec)
@click.option("-i", "--stdin", is_flag=True, help="Pass our input to the command.")
@click.option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@container_option
@namespace_option
@socket_option
@click.argument("pod")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND [ARGS]...")
@click.pass_context
def command(
    ctx: click.Context,
    stdin: bool,
    tty: bool,
    container: str,
    namespace: str,
    socket_path: str,
    pod: str,
    words: tuple[str, ...],
) -> None:
    """Run a command in a container; exits with the command's own exit code."""
    from pykubelet.cli.remote_command import Wanted, run_remote
    from pykubelet.cli.terminal import stdin_is_terminal

    after: tuple[str, ...] | None = ctx.meta[_WORDS]
    if after is not None and words:
        raise click.UsageError(f"unexpected words before --: {' '.join(words)}")
    words = after if after is not None else words
    if not words:
        raise click.UsageError("you must specify at least one command for the container")
    if tty and stdin and not stdin_is_terminal():
        click.echo("Unable to use a TTY - input is not a terminal or the right kind of file", err=True)
        tty = False
    client = client_for(socket_path)
    found = pod_argument(client, namespace, pod)
    name = default_container(found, container)
    wanted = Wanted(stdin=stdin, tty=tty)
    path = path_of("exec", namespace, found["metadata"]["name"], name, command=list(words), **wanted.query())
    raise SystemExit(run_remote(client.path, path, wanted))
