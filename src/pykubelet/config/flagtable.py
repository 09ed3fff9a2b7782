"""All flags in one table: the kubelet's own, and those that only older documents know."""

from .flags import Flag
from .flagtable_host import HOST_FLAGS
from .flagtable_pods import POD_FLAGS
from .flagtable_resources import RESOURCE_FLAGS
from .retired import retired_flags


def all_flags() -> tuple[Flag, ...]:
    """Every flag that is accepted; retired ones have no target and no help."""
    return (*POD_FLAGS, *RESOURCE_FLAGS, *HOST_FLAGS, *retired_flags())
