"""The checked-in stubs are those of the protos, and speak the wire's names."""

from pathlib import Path

import pykubelet.rpc
from pykubelet.rpc import cri_v1
from pykubelet.rpc._gen import cri_service_pb2, health_pb2
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
