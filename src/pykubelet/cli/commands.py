"""Which commands there are, and in which module each lives; nothing is imported for knowing that."""

#: Command → (module with a click command of the name ``command``, one line for ``--help``).
COMMANDS = {
    "up": (
        "pykubelet.cli.up.command",
        "Run pods on this machine: a private containerd, samples, no cluster.",
    ),
    "check": ("pykubelet.cli.check", "Preflight of this node, a configuration or manifests."),
    "apply": ("pykubelet.cli.apply", "Push manifests to the local daemon."),
    "delete": ("pykubelet.cli.delete", "Delete manifests that were pushed."),
    "get": ("pykubelet.cli.get", "List what the local daemon runs."),
    "describe": ("pykubelet.cli.describe", "Show one pod in detail, with its events."),
    "explain": ("pykubelet.cli.explain", "Tell what was decided about a pod, and why."),
    "logs": ("pykubelet.cli.logs", "Print a container's log."),
    "exec": ("pykubelet.cli.exec", "Run a command in a container."),
    "attach": ("pykubelet.cli.attach", "Attach to a container's first process."),
    "port-forward": ("pykubelet.cli.port_forward", "Forward local ports to a pod."),
}

#: Where ``run`` is: a function ``run(arguments) -> exit code``.
RUN = ("pykubelet.cli.run", "Run the daemon; takes every flag of the kubelet.")
