"""A node's CSI plug-in with a real driver, real mounts, and a cluster that says what a test wants."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.csidriver.driver import CsiDriver
from tests.csidriver.fake import NODE as NODE_SERVICE
from tests.csidriver.fake import FakeNode
from tests.csidriver.serving import SocketServer

from pykubelet.api.auth import TokenRequestStatus
from pykubelet.api.core import Pod, PodSecurityContext, PodSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.objects import Secret
from pykubelet.api.storage import (
    CSIDriver,
    CSIDriverSpec,
    CSIPersistentVolumeSource,
    PersistentVolume,
    PersistentVolumeSpec,
    VolumeAttachment,
    VolumeAttachmentStatus,
)
from pykubelet.api.volumes import CSIVolumeSource, PersistentVolumeClaimVolumeSource, Volume
from pykubelet.base.apart import Apart
from pykubelet.base.clock import SystemClock
from pykubelet.base.errors import VolumeError
from pykubelet.base.journal import NullJournal
from pykubelet.base.layout import Layout
from pykubelet.rpc import csi_v1
from pykubelet.volumes.csi.client import CsiClient
from pykubelet.volumes.csi.errors import DriverNotFoundError
from pykubelet.volumes.csi.means import Means
from pykubelet.volumes.csi.paths import CsiPaths, attachment_name
from pykubelet.volumes.csi.plugin import CsiPlugin
from pykubelet.volumes.spec import VolumeSpec

DRIVER = "driver.example"
NODE = "node-1"


class Objects:
    """Implements ``CsiObjects``; *trouble* is what every question is answered with."""

    def __init__(self):
        self.drivers: dict[str, CSIDriver] = {}
        self.attachments: dict[str, VolumeAttachment] = {}
        self.secrets: dict[tuple[str, str], Secret] = {}
        self.trouble = ""
        #: Names of attachments that were asked for, one for each question.
        self.asked: list[str] = []

    def _ask(self):
        if self.trouble:
            raise VolumeError(self.trouble, left="unchanged")

    async def driver(self, name):
        self._ask()
        return self.drivers.get(name)

    def cached_driver(self, name):
        return self.drivers.get(name)

    async def attachment(self, name):
        self.asked.append(name)
        self._ask()
        return self.attachments.get(name)

    async def secret(self, namespace, name):
        self._ask()
        if (namespace, name) not in self.secrets:
            raise VolumeError(f'secrets "{name}" not found', left="unchanged")
        return self.secrets[namespace, name]

    def has_driver(self, driver=DRIVER, **spec):
        """Let there be a CSIDriver, as the API server fills it in."""
        filled = {
            "attachRequired": False,
            "podInfoOnMount": False,
            "fsGroupPolicy": "ReadWriteOnceWithFSType",
            "volumeLifecycleModes": ["Persistent"],
            "requiresRepublish": False,
        }
        self.drivers[driver] = CSIDriver(spec=CSIDriverSpec(**(filled | spec)))

    def attach(self, handle="h", *, driver=DRIVER, attached=True, error=None, **metadata):
        """Let the volume be attached to the node."""
        status = VolumeAttachmentStatus(attached=attached, attachmentMetadata=metadata, attachError=error)
        self.attachments[attachment_name(handle, driver, NODE)] = VolumeAttachment(status=status)

    def has_secret(self, namespace, name, **data):
        self.secrets[namespace, name] = Secret(
            metadata=ObjectMeta(namespace=namespace, name=name),
            data={key: value.encode() for key, value in data.items()},
        )


class Tokens:
    """Implements ``Tokens``."""

    def __init__(self):
        self.asked = []
        self.trouble = ""

    async def token(self, namespace, service_account, request):
        if self.trouble:
            raise LookupError(self.trouble)
        self.asked.append((namespace, service_account, request.spec))
        audience = (request.spec.audiences or ["api"])[0]
        request.status = TokenRequestStatus(token=f"token-{audience}")
        return request

    def refresh_at(self, namespace, service_account, request):
        return None

    def forget_pod(self, uid):
        pass


class Clients:
    """Implements ``Clients``: the drivers that are registered, by their endpoints."""

    def __init__(self):
        self.endpoints: dict[str, str] = {}
        self.refreshed: list[str] = []
        #: Whether each client was for a volume that was translated for its driver.
        self.migrated: list[bool] = []
        self.timeout = 20.0

    def client(self, name, *, migrated=False):
        if name not in self.endpoints:
            raise DriverNotFoundError(name)
        self.migrated.append(migrated)
        return CsiClient(name, self.endpoints[name], clock=SystemClock(), timeout=self.timeout)

    async def refresh(self, name):
        self.refreshed.append(name)


@asynccontextmanager
async def idle_driver(node: "Node", root: Path) -> AsyncIterator[None]:
    """Meanwhile the driver says yes to everything and does nothing."""
    fake = FakeNode()
    fake.answers["NodeGetCapabilities"] = csi_v1.NodeGetCapabilitiesResponse(
        capabilities=[{"rpc": {"type": "STAGE_UNSTAGE_VOLUME"}}]
    )
    async with SocketServer(root / "idle.sock", (NODE_SERVICE, fake)) as server:
        before = node.clients.endpoints[DRIVER]
        node.clients.endpoints[DRIVER] = str(server.path)
        yield
        node.clients.endpoints[DRIVER] = before


class Node:
    """One node; *plugin* is made anew by :meth:`restart`, as after a kill."""

    def __init__(self, area: Path, driver: CsiDriver):
        self.layout = Layout(root=area / "root")
        self.layout.root.mkdir()
        self.driver = driver
        self.paths = CsiPaths(self.layout)
        self.objects, self.tokens, self.clients = Objects(), Tokens(), Clients()
        self.clients.endpoints[DRIVER] = driver.endpoint
        #: Whether SELinux is on.
        self.labels = False
        self.restart()

    def calls_itself(self, driver: str) -> None:
        """Let the driver be registered under another name."""
        self.driver.files.set(name=driver)
        self.clients.endpoints = {driver: self.driver.endpoint}

    def restart(self) -> CsiPlugin:
        self.means = Means(
            paths=self.paths,
            node=NODE,
            clients=self.clients,
            objects=self.objects,
            tokens=self.tokens,
            events=NullJournal(),
            clock=SystemClock(),
            apart=Apart("test"),
            labels=self.labels,
        )
        self.plugin = CsiPlugin(self.means)
        return self.plugin

    def tree(self) -> list[str]:
        """Everything below the root directory, without what is in mounts."""
        found = []
        for top, directories, files in os.walk(self.layout.root):
            found += [os.path.relpath(f"{top}/{name}", self.layout.root) for name in [*directories, *files]]
            directories[:] = [name for name in directories if not os.path.ismount(f"{top}/{name}")]
        return sorted(found)

    def sent(self, method: str) -> dict:
        """The last request of *method*."""
        return dict(self.driver.calls(method)[-1].request)

    def count(self, method: str) -> int:
        return len(self.driver.calls(method))


def pod_of(uid="uid-1", *, group=None, policy=None):
    context = PodSecurityContext(fsGroup=group, fsGroupChangePolicy=policy)
    return Pod(
        metadata=ObjectMeta(name="web", namespace="shop", uid=uid),
        spec=PodSpec(serviceAccountName="clerk", securityContext=context),
    )


def claimed(
    name="pv-1", handle="h", *, block=False, read_only=False, modes=("ReadWriteOnce",), options=(), **source
):
    """A pod's claim, bound to a persistent volume."""
    csi = CSIPersistentVolumeSource(driver=DRIVER, volumeHandle=handle, **source)
    pv = PersistentVolume(
        metadata=ObjectMeta(name=name),
        spec=PersistentVolumeSpec(
            csi=csi,
            accessModes=list(modes),
            mountOptions=list(options),
            volumeMode="Block" if block else "Filesystem",
        ),
    )
    claim = PersistentVolumeClaimVolumeSource(claimName="data", readOnly=read_only)
    return VolumeSpec(Volume(name="data", persistentVolumeClaim=claim), pv)


def inline(**source):
    """A volume that the pod asks the driver for by itself."""
    return VolumeSpec(Volume(name="scratch", csi=CSIVolumeSource(driver=DRIVER, **source)))
