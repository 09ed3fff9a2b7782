"""A container runtime that is there already, in the place of the private containerd of the tests.

``PYKUBELET_TEST_CRI_ENDPOINT`` names its socket. It must be the tests' alone: each node takes pods that
it does not know for orphans. What only a containerd of our own can do (be ended and started, be looked
into) is skipped.
"""

import os
import subprocess
import tempfile
import zlib
from pathlib import Path

import grpc
import pytest

from pykubelet.cli.up.leftovers import remove_cgroups
from pykubelet.rpc.cri_v1 import (
    ImageSpec,
    ImageStatusRequest,
    ImageStatusResponse,
    PullImageRequest,
    VersionRequest,
    VersionResponse,
)

VARIABLE = "PYKUBELET_TEST_CRI_ENDPOINT"


class GivenRuntime:
    """Has what the tests use of ``PrivateContainerd``, as far as any runtime has it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.socket = Path(endpoint.removeprefix("unix://"))
        self.cgroup_root = f"pkgiven{zlib.crc32(endpoint.encode()):08x}"
        #: Nothing of the runtime's lies here: what it mounts is its own affair.
        self.base_dir = self.run_dir = Path(tempfile.mkdtemp(prefix="pk-given-", dir="/tmp"))
        answer = VersionResponse.FromString(
            self._call("RuntimeService/Version", VersionRequest().SerializeToString())
        )
        self.name, self.version = answer.runtime_name, answer.runtime_version

    def import_image(self, archive: bytes, name: str) -> None:
        """Have the image *name*: containerd is given the archive, any other runtime pulls it by itself."""
        if self.name == "containerd":
            subprocess.run(
                ["ctr", "--address", self.socket, "--namespace", "k8s.io", "images", "import", "-"],
                input=archive,
                check=True,
                capture_output=True,
                timeout=60,
            )
            return
        spec = ImageSpec(image=name)
        status = self._call("ImageService/ImageStatus", ImageStatusRequest(image=spec).SerializeToString())
        if not ImageStatusResponse.FromString(status).HasField("image"):
            self._call("ImageService/PullImage", PullImageRequest(image=spec).SerializeToString())

    def __getattr__(self, name: str):
        if name.startswith("_"):
            raise AttributeError(name)
        pytest.skip(f"needs a containerd of the tests' own ({name}), not the one that {VARIABLE} names")

    def destroy(self) -> None:
        """Remove the cgroups that tests made."""
        remove_cgroups(self.cgroup_root)
        self.base_dir.rmdir()

    def _call(self, method: str, request: bytes) -> bytes:
        with grpc.insecure_channel(f"unix:{self.socket}") as channel:
            answer: bytes = channel.unary_unary(f"/runtime.v1.{method}", None, None)(request, timeout=60)
            return answer


def given_endpoint() -> str:
    """The endpoint that is to be tested, empty for a private containerd."""
    return os.environ.get(VARIABLE, "")
