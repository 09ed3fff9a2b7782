"""A cgroup root of one's own, so that several kubelets can live on one machine.

A kubelet refuses a ``cgroupRoot`` that does not exist; who starts one with a private
root makes it before and removes it after. Blocking: call it off the loop.
"""

import errno

from pykubelet.linux.cgroups import CgroupFs

from .names import BEST_EFFORT, BURSTABLE, kubepods, parse_cgroupfs, to_cgroupfs


def create_root(fs: CgroupFs, cgroup_root: str) -> None:
    """Make the cgroup where it is missing; ``/`` is always there.

    :raises OSError: the kernel refused.
    """
    if parse_cgroupfs(cgroup_root):
        fs.create(cgroup_root)


def remove_root(fs: CgroupFs, cgroup_root: str) -> bool:
    """Remove the root with the pods' levels below it, but only what is empty; True if all is gone.

    Nothing is killed: a cgroup with a process or with a pod's cgroup in it stays. ``/`` stays.
    """
    name = parse_cgroupfs(cgroup_root)
    if not name:
        return False
    pods = kubepods(cgroup_root)
    for each in ((*pods, BURSTABLE), (*pods, BEST_EFFORT), pods, name):
        try:
            fs.remove(to_cgroupfs(each), recursive=False)
        except OSError as error:
            if error.errno not in {errno.EBUSY, errno.ENOTEMPTY}:
                raise
            return False
    return True
