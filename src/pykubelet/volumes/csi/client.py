"""Calls to one CSI driver over its Unix socket.

Each call has a connection of its own, as upstream's: a driver that was replaced under
the same path is found at once, and one that is away leaves no back-off behind.
Nothing is remembered between calls, neither answers nor secrets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from pykubelet.base.clock import Clock
from pykubelet.base.metrics import Metrics
from pykubelet.rpc import csi_v1
from pykubelet.rpc._gen import csi_node_pb2
from pykubelet.rpc.calls import unary
from pykubelet.rpc.channel import connect, socket_path
from pykubelet.rpc.errors import Code, RpcError
from pykubelet.rpc.stub import caller, path

from .capabilities import Capabilities, Capability, VolumeUse, known, volume_capability
from .errors import CsiError

#: How long one call may take, in seconds; upstream's ``csiTimeout``.
CALL_TIMEOUT = 120.0

#: How long a driver that took the connection may be silent, in seconds; the default of Go's client.
CONNECT_TIME = 20.0

#: Upper bounds in seconds, those of all volume operations.
_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600)

_METHODS: Mapping[str, MethodDescriptor] = csi_node_pb2.DESCRIPTOR.services_by_name["Node"].methods_by_name


class CsiMetrics:
    """Upstream's family about calls to drivers."""

    def __init__(self, metrics: Metrics) -> None:
        self._seconds = metrics.histogram(
            "csi_operations_seconds",
            "How long calls to CSI drivers took, by gRPC status.",
            ("driver_name", "method_name", "grpc_status_code", "migrated"),
            buckets=_BUCKETS,
        )

    def count(self, driver: str, method: str, code: Code, seconds: float, *, migrated: bool) -> None:
        """One call of *method* (its path on the wire) ended with *code*."""
        self._seconds.labels(driver, method, code.name, "true" if migrated else "false").observe(seconds)


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """How a driver sees this node; *max_volumes* zero or less: no limit."""

    node_id: str
    max_volumes: int = 0
    topology: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes or inodes of a volume."""

    available: int = 0
    total: int = 0
    used: int = 0


@dataclass(frozen=True, slots=True)
class Condition:
    """How well a volume is, in the driver's words."""

    abnormal: bool
    message: str


@dataclass(frozen=True, slots=True)
class VolumeStats:
    """How full a volume is; what the driver does not tell is zero, *condition* None."""

    size: Usage = Usage()
    inodes: Usage = Usage()
    condition: Condition | None = None


def _needs(value: str, what: str) -> None:
    if not value:
        raise ValueError(f"missing {what}")


class CsiClient:
    """The Node service of the driver called *driver*, at *endpoint* (a Unix socket's path or URL).

    *timeout* is what each call is given, in seconds; *migrated* marks calls for volumes
    of in-tree plug-ins in the metric. The volume calls raise :class:`CsiError` when the
    driver or the way to it fails, ValueError before any call when a name is empty.
    Upstream asks for the capabilities before every step; here the caller asks once an
    operation (:meth:`node_get_capabilities`) and hands them to its calls.

    :raises ValueError: the endpoint is not a Unix socket.
    """

    def __init__(
        self,
        driver: str,
        endpoint: str,
        *,
        clock: Clock,
        metrics: CsiMetrics | None = None,
        timeout: float = CALL_TIMEOUT,
        migrated: bool = False,
    ) -> None:
        socket_path(endpoint)
        self.driver = driver
        self.endpoint = endpoint
        self._clock = clock
        self._metrics = metrics
        self._timeout = timeout
        self._migrated = migrated

    async def _call(self, name: str, request: Message) -> Any:
        method = _METHODS[name]
        began = self._clock.monotonic()
        code = Code.Canceled
        channel = connect(self.endpoint, CONNECT_TIME)
        try:
            answer = await unary(caller(channel, method), request, self._timeout)
            code = Code.OK
            return answer
        except RpcError as error:
            code = error.code
            raise CsiError(error.code, error.message) from None
        finally:
            if self._metrics is not None:
                seconds = self._clock.monotonic() - began
                self._metrics.count(self.driver, path(method), code, seconds, migrated=self._migrated)
            await channel.close(None)

    async def node_get_info(self) -> NodeInfo:
        """How the driver sees this node.

        :raises CsiError: the call failed.
        """
        answer = await self._call("NodeGetInfo", csi_v1.NodeGetInfoRequest())
        return NodeInfo(
            answer.node_id, answer.max_volumes_per_node, dict(answer.accessible_topology.segments)
        )

    async def node_get_capabilities(self) -> frozenset[Capability]:
        """What the driver can do now; asked anew each time.

        :raises CsiError: the call failed.
        """
        answer = await self._call("NodeGetCapabilities", csi_v1.NodeGetCapabilitiesRequest())
        return known(answer.capabilities)

    async def node_stage_volume(
        self,
        volume_id: str,
        staging_path: str,
        use: VolumeUse,
        capabilities: Capabilities,
        *,
        publish_context: Mapping[str, str],
        volume_context: Mapping[str, str],
        secrets: Mapping[str, str],
    ) -> None:
        """Let the driver make the volume ready on this node, below *staging_path*."""
        _needs(volume_id, "volume id")
        _needs(staging_path, "staging target path")
        request = csi_v1.NodeStageVolumeRequest(
            volume_id=volume_id,
            staging_target_path=staging_path,
            volume_capability=volume_capability(use, capabilities),
            publish_context=publish_context,
            volume_context=volume_context,
            secrets=secrets,
        )
        await self._call("NodeStageVolume", request)

    async def node_unstage_volume(self, volume_id: str, staging_path: str) -> None:
        """Undo :meth:`node_stage_volume`."""
        _needs(volume_id, "volume id")
        _needs(staging_path, "staging target path")
        request = csi_v1.NodeUnstageVolumeRequest(volume_id=volume_id, staging_target_path=staging_path)
        await self._call("NodeUnstageVolume", request)

    async def node_publish_volume(
        self,
        volume_id: str,
        target_path: str,
        use: VolumeUse,
        capabilities: Capabilities,
        *,
        staging_path: str,
        readonly: bool,
        publish_context: Mapping[str, str],
        volume_context: Mapping[str, str],
        secrets: Mapping[str, str],
    ) -> None:
        """Let the driver put the volume at *target_path*, whose parent is there.

        *staging_path* is empty for a driver that does not stage.
        """
        _needs(volume_id, "volume id")
        _needs(target_path, "target path")
        request = csi_v1.NodePublishVolumeRequest(
            volume_id=volume_id,
            staging_target_path=staging_path,
            target_path=target_path,
            volume_capability=volume_capability(use, capabilities),
            readonly=readonly,
            publish_context=publish_context,
            volume_context=volume_context,
            secrets=secrets,
        )
        await self._call("NodePublishVolume", request)

    async def node_unpublish_volume(self, volume_id: str, target_path: str) -> None:
        """Undo :meth:`node_publish_volume`."""
        _needs(volume_id, "volume id")
        _needs(target_path, "target path")
        request = csi_v1.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=target_path)
        await self._call("NodeUnpublishVolume", request)

    async def node_expand_volume(
        self,
        volume_id: str,
        volume_path: str,
        size: int,
        use: VolumeUse,
        capabilities: Capabilities,
        *,
        staging_path: str,
        secrets: Mapping[str, str],
    ) -> int:
        """Let the volume grow to *size* bytes at least; how large it is then (zero: not told).

        *use* without its mount group: that is not part of this call.
        """
        _needs(volume_id, "volume id")
        _needs(volume_path, "volume path")
        if size < 0:
            raise ValueError("size can not be less than 0")
        request = csi_v1.NodeExpandVolumeRequest(
            volume_id=volume_id,
            volume_path=volume_path,
            capacity_range=csi_v1.CapacityRange(required_bytes=size),
            staging_target_path=staging_path,
            volume_capability=volume_capability(use, capabilities),
            secrets=secrets,
        )
        return int((await self._call("NodeExpandVolume", request)).capacity_bytes)

    async def node_get_volume_stats(
        self, volume_id: str, volume_path: str, *, condition: bool = False
    ) -> VolumeStats:
        """How full the volume is; with *condition* (a driver with VOLUME_CONDITION) also how well.

        :raises CsiError: the call failed, or told nothing.
        """
        _needs(volume_id, "volume id")
        _needs(volume_path, "target path")
        request = csi_v1.NodeGetVolumeStatsRequest(volume_id=volume_id, volume_path=volume_path)
        answer = await self._call("NodeGetVolumeStats", request)
        if not answer.usage and not condition:
            raise CsiError(Code.Unknown, "failed to get usage from response. usage is nil")
        told = {item.unit: Usage(item.available, item.total, item.used) for item in answer.usage}
        state = answer.volume_condition
        return VolumeStats(
            told.get(csi_v1.VolumeUsage.BYTES, Usage()),
            told.get(csi_v1.VolumeUsage.INODES, Usage()),
            Condition(state.abnormal, state.message) if condition else None,
        )
