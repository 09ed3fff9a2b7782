"""The hash of a container's spec: when it differs from a running container's, that one is replaced.

Only name and image go in, so that no other change of a spec ever restarts a container.
The value stands in the annotation ``io.kubernetes.container.hash``.
"""

from pykubelet.base.fnv import fnv1a
from pykubelet.base.gotext import go_json

from .core import Container


def container_hash(container: Container) -> str:
    """The hash as the annotation bears it: lower hex, no prefix, no padding."""
    document = go_json({"image": container.image, "name": container.name})
    dump = "([]uint8)[" + " ".join(str(byte) for byte in document.encode()) + "]"
    return f"{fnv1a(dump.encode(), 32):x}"
