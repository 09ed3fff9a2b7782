"""The root directory's place in the mount table."""

import logging

from pykubelet.base.layout import Layout
from pykubelet.linux import mounts

log = logging.getLogger(__name__)


def ensure_shared_root(layout: Layout) -> bool:
    """Put the root directory on a shared mount, as Bidirectional propagation needs; blocking.

    False, and a warning in the log, where the kernel refuses: all but propagation works then.
    The mount stays when the daemon ends: running pods lie on it.

    :raises OSError: the root directory cannot be made.
    """
    layout.root.mkdir(mode=0o750, parents=True, exist_ok=True)
    try:
        if mounts.ensure_shared(layout.root):
            log.info("%s was made a shared mount", layout.root)
    except OSError as error:
        log.warning("%s is not on a shared mount, mount propagation will not work: %s", layout.root, error)
        return False
    return True
