"""The registration of plug-ins as protobuf messages: ``from pykubelet.rpc import plugin_registration``."""

from pykubelet.rpc._gen.plugin_registration_pb2 import *  # noqa: F403
