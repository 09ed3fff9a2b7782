"""The annotations that limit a pod's traffic; the runtime hands them to the network's plug-ins.

Runtimes refuse values that are none, and containerd then cannot end that sandbox either: it
parses the annotations once more. So they are judged here, before a sandbox is made.
Source: the rules by which runtimes read them (``kubernetes/pkg/util/bandwidth`` of old).
"""

from collections.abc import Mapping
from typing import Final

from pykubelet.api.quantity import Quantity

#: Bits per second into the pod, and out of it.
ANNOTATIONS: Final = ("kubernetes.io/ingress-bandwidth", "kubernetes.io/egress-bandwidth")
_LEAST: Final = 1000
_MOST: Final = 10**15


def check_bandwidth(annotations: Mapping[str, str]) -> None:
    """Refuse limits that no runtime takes.

    :raises ValueError: one is no quantity, or beyond what is reasonable.
    """
    for name in ANNOTATIONS:
        text = annotations.get(name)
        if text is None:
            continue
        try:
            rate = Quantity.parse(text).value()
        except ValueError as error:
            raise ValueError(f"annotation {name}: {error}") from error
        if rate < _LEAST:
            raise ValueError(f"annotation {name}: resource is unreasonably small (< 1kbit)")
        if rate > _MOST:
            raise ValueError(f"annotation {name}: resource is unreasonably large (> 1Pbit)")
