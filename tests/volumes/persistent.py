"""What tests of persistent volumes share: specs, pods, takers of events, mounts whose server is gone."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from pykubelet.api.core import Pod, PodSecurityContext, PodSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.storage import PersistentVolume, PersistentVolumeSpec
from pykubelet.api.volumes import PersistentVolumeClaimVolumeSource, Volume
from pykubelet.linux import syscalls
from pykubelet.volumes.spec import VolumeSpec

needs_fuse = pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="needs /dev/fuse")


def dead_mount(path):
    """Mount a FUSE file system on *path* and end what serves it: every look answers ENOTCONN."""
    os.close(_mount_fuse(path))


@contextmanager
def hanging_mount(path):
    """Mount a FUSE file system on *path* that never answers: every look hangs, until the context's end."""
    served = _mount_fuse(path)
    try:
        yield
    finally:
        syscalls.umount2(str(path), syscalls.MNT_DETACH)
        # What hangs comes back now, with ENOTCONN.
        os.close(served)


def _mount_fuse(path):
    served = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={served},rootmode=40000,user_id=0,group_id=0"
    try:
        syscalls.mount("gone", str(path), "fuse", 0, options)
    except OSError:
        os.close(served)
        raise
    return served


def spec_of(name="pv-1", *, read_only=False, annotations=None, **fields):
    """The volume ``data`` of a pod, claimed, with a persistent volume of these fields behind it."""
    claim = PersistentVolumeClaimVolumeSource(claimName="claim", readOnly=read_only)
    pv = PersistentVolume(
        metadata=ObjectMeta(name=name, annotations=annotations or {}), spec=PersistentVolumeSpec(**fields)
    )
    return VolumeSpec(Volume(name="data", persistentVolumeClaim=claim), pv)


def pod_of(uid="uid-1", group=None, policy=None):
    """A pod of that UID, perhaps with an fsGroup."""
    context = PodSecurityContext(fsGroup=group, fsGroupChangePolicy=policy)
    return Pod(metadata=ObjectMeta(name=f"pod-{uid}", uid=uid), spec=PodSpec(securityContext=context))


class Told:
    """Keeps events: (pod, kind, reason, message)."""

    def __init__(self):
        self.events = []

    def pod_event(self, pod, kind, reason, message, *, field_path=""):
        self.events.append((pod.name, kind, reason, message))

    def node_event(self, kind, reason, message):
        raise AssertionError


class StandIns:
    """Commands that take the place of the machine's own, and tell how they were called."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        self._log = directory / "called"

    def add(self, name, script=""):
        """A command; *script* is for a shell and may end with an exit status."""
        path = self.directory / name
        path.write_text(
            f'#!/bin/sh\nprintf "%s " "{name}" "$@" >> "{self._log}"\necho >> "{self._log}"\n{script}\n'
        )
        path.chmod(0o755)

    @property
    def called(self):
        """All calls so far, each as one line."""
        if not self._log.exists():
            return []
        return [line.rstrip() for line in self._log.read_text().splitlines()]
