"""CSI v1 (Identity and Node) as protobuf messages, in one place: ``from pykubelet.rpc import csi_v1``."""

from pykubelet.rpc._gen.csi_identity_pb2 import *  # noqa: F403
from pykubelet.rpc._gen.csi_node_pb2 import *  # noqa: F403
from pykubelet.rpc._gen.csi_volume_pb2 import *  # noqa: F403
