"""The checked-in stubs are those of the protos, and speak the wire's names."""

from pathlib import Path

import pykubelet.rpc
from pykubelet.rpc import cri_v1, csi_v1, plugin_registration
from pykubelet.rpc._gen import cri_service_pb2, csi_node_pb2, health_pb2, plugin_registration_pb2
from pykubelet.rpc.stub import path

ROOM = Path(pykubelet.rpc.__file__).parent


def test_every_proto_has_its_stubs():
    names = {proto.stem for proto in (ROOM / "protos").glob("*.proto")}
    assert names == {stub.name.removesuffix("_pb2.py") for stub in (ROOM / "_gen").glob("*_pb2.py")}
    assert names == {stub.name.removesuffix("_pb2.pyi") for stub in (ROOM / "_gen").glob("*_pb2.pyi")}


def test_paths():
    service = cri_service_pb2.DESCRIPTOR.services_by_name["RuntimeService"]
    method = service.methods_by_name["RunPodSandbox"]
    assert path(method) == "/runtime.v1.RuntimeService/RunPodSandbox"
    assert path(method, "runtime.v1alpha2") == "/runtime.v1alpha2.RuntimeService/RunPodSandbox"
    health = health_pb2.DESCRIPTOR.services_by_name["Health"].methods_by_name["Check"]
    assert path(health) == "/grpc.health.v1.Health/Check"


def test_wire_form():
    spec = cri_v1.ImageSpec(image="a", user_specified_image="b", runtime_handler="c")
    assert spec.SerializeToString() == bytes.fromhex("0a0161 920101 62 9a0101 63")
    assert cri_v1.Signal.Value("SIGTERM") == 23
    assert cri_v1.NODE == 2


def test_csi_and_registration():
    node = csi_node_pb2.DESCRIPTOR.services_by_name["Node"]
    assert path(node.methods_by_name["NodeStageVolume"]) == "/csi.v1.Node/NodeStageVolume"
    registration = plugin_registration_pb2.DESCRIPTOR.services_by_name["Registration"]
    assert path(registration.methods_by_name["GetInfo"]) == "/pluginregistration.Registration/GetInfo"
    request = csi_v1.NodePublishVolumeRequest(volume_id="v", target_path="/t", readonly=True)
    request.volume_capability.mount.volume_mount_group = "5"
    assert request.SerializeToString() == bytes.fromhex("0a0176 2202 2f74 2a05 1203 1a0135 3001")
    told = plugin_registration.PluginInfo(type="CSIPlugin", supported_versions=["1.0.0"])
    assert told.SerializeToString() == bytes.fromhex("0a09 435349506c7567696e 2205 312e302e30")
