"""Which SELinux label a pod needs on a volume's files, and whether it is mounted with it. Pure.

A volume that is mounted with a label (the option ``context=``) has that one label on all its
files at once; any other is relabelled by the runtime, file by file.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pykubelet.api.core import Pod, SELinuxOptions
from pykubelet.api.storage import PersistentVolume
from pykubelet.base.gotext import go_quote
from pykubelet.linux.selinux import SELinux

#: What metrics call the access modes; of several the first one here counts.
_MODES: Final = {
    "ReadWriteMany": "RWX",
    "ReadOnlyMany": "ROX",
    "ReadWriteOnce": "RWO",
    "ReadWriteOncePod": "RWOP",
}


@dataclass(frozen=True, slots=True)
class Labelling:
    """How this node mounts volumes with labels; it does not where SELinux is off."""

    host: SELinux
    #: Whether it does so whatever the access mode (gate ``SELinuxMount``), not only for ReadWriteOncePod.
    every_mode: bool = False


class LabelError(ValueError):
    """A label cannot be told; the text is upstream's."""


def labels_of(host: SELinux, pod: Pod, volumes: Collection[str]) -> frozenset[str]:
    """The labels that *pod*'s containers need which mount any of *volumes*, by their names in its spec.

    Containers that ask for none leave it to the others. Empty, too, is what only the runtime chooses.

    :raises LabelError: the host's own label is none.
    """
    return frozenset(file_label(host, options) for options in _asked(pod, volumes))


def _asked(pod: Pod, volumes: Collection[str]) -> Iterator[SELinuxOptions]:
    spec = pod.spec
    shared = spec.securityContext.seLinuxOptions if spec.securityContext is not None else None
    for container in [*spec.initContainers, *spec.containers, *spec.ephemeralContainers]:
        own = container.securityContext.seLinuxOptions if container.securityContext is not None else None
        options = own if own is not None else shared
        if options is not None and any(mount.name in volumes for mount in container.volumeMounts):
            yield options


def file_label(host: SELinux, options: SELinuxOptions) -> str:
    """The label of files for a container with *options*; empty when only the runtime can choose it.

    As with go-selinux, files have the host's role and type, whatever the container's are.

    :raises LabelError: the host's own label is none.
    """
    if not (options.user or options.role or options.type or options.level):
        return ""
    if not host.process or not host.file:
        return host.file
    process, file = _parts(host.process, options), _parts(host.file, options)
    if len(process) > 3 and not options.level:
        # The runtime will choose categories that nobody else has: they are not known beforehand.
        return ""
    level = [options.level] if options.level else file[3:]
    return ":".join([options.user or file[0], *file[1:3], *level])


def _parts(label: str, options: SELinuxOptions) -> list[str]:
    parts = label.split(":", 3)
    if len(parts) < 3:
        said = ",".join(
            f"{name}:{value}"
            for name, value in (
                ("User", options.user),
                ("Role", options.role),
                ("Type", options.type),
                ("Level", options.level),
            )
        )
        asked = go_quote(f"&SELinuxOptions{{{said},}}")
        raise LabelError(f"failed to construct SELinux label from context {asked}: invalid Label")
    return parts


def recursive(pod: Pod) -> bool:
    """Whether the pod wants its volumes relabelled file by file, so that others may share them."""
    context = pod.spec.securityContext
    return context is not None and context.seLinuxChangePolicy == "Recursive"


def mountable(pv: PersistentVolume | None, *, every_mode: bool) -> bool:
    """Whether the volume may be mounted with a label, as far as its access modes go."""
    return pv is not None and (every_mode or pv.spec.accessModes == ["ReadWriteOncePod"])


def access_mode(pv: PersistentVolume | None) -> str:
    """What metrics call the volume's access mode."""
    if pv is None:
        return "inline"
    return next((short for mode, short in _MODES.items() if mode in pv.spec.accessModes), "")


def with_label(options: Sequence[str], label: str) -> tuple[str, ...]:
    """Mount *options* with that label; in quotes, for it may have commas."""
    return (*options, f"context={go_quote(label)}") if label else tuple(options)
