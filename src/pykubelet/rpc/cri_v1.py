"""CRI v1 as protobuf messages, in one place: ``from pykubelet.rpc import cri_v1``."""

from pykubelet.rpc._gen.cri_calls_pb2 import *  # noqa: F403
from pykubelet.rpc._gen.cri_common_pb2 import *  # noqa: F403
from pykubelet.rpc._gen.cri_container_pb2 import *  # noqa: F403
from pykubelet.rpc._gen.cri_image_pb2 import *  # noqa: F403
from pykubelet.rpc._gen.cri_sandbox_pb2 import *  # noqa: F403
from pykubelet.rpc._gen.cri_service_pb2 import *  # noqa: F403
from pykubelet.rpc._gen.cri_stats_calls_pb2 import *  # noqa: F403
from pykubelet.rpc._gen.cri_stats_pb2 import *  # noqa: F403
from pykubelet.rpc._gen.cri_windows_pb2 import *  # noqa: F403
