"""A private containerd for the tests that need a real one, and the proof that they leave nothing."""

import os
import shutil
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.apiserver.cluster import a_cluster
from tests.apiserver.fixtures import cluster
from tests.integration.given_runtime import GivenRuntime, given_endpoint
from tests.integration.joined import Joined, joined_node
from tests.integration.node import named_netns
from tests.listing import listed

from pykubelet.cli.up.containerd import PrivateContainerd
from pykubelet.cli.up.images import sample_images
from pykubelet.cli.up.leftovers import mounts_below, processes, remove_cgroups
from pykubelet.cli.up.oci import pack
from pykubelet.linux.cgroup_discovery import discover
from pykubelet.resources import create_root

__all__ = ["cluster"]

_NEEDED = ("containerd", "ctr", "runc", "iptables", "busybox", "tini-static")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder is an integration test."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.integration)


def _cgroups(directory: str = "") -> set[str]:
    """The cgroups in *directory* (its path below the root) of any hierarchy."""
    tops = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()]
    return {str(path) for top in tops for path in listed(top / directory) if path.is_dir()}


def _bridges() -> set[str]:
    return {name for name in os.listdir("/sys/class/net") if name.startswith("pk")}


@pytest.fixture(scope="session")
def packed_images() -> dict[str, bytes]:
    """The sample images as archives, by name."""
    return {image.name: pack(image) for image in sample_images()}


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A temporary directory with a path short enough for sockets in it."""
    directory = Path(tempfile.mkdtemp(prefix="pk-", dir="/tmp"))
    yield directory
    assert mounts_below([directory]) == [], "mounts left behind"
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def containerd(packed_images: dict[str, bytes]) -> Iterator[PrivateContainerd | GivenRuntime]:
    """A running private containerd with the sample images; at the end nothing of it may be left.

    Pods of tests belong below its ``cgroup_root``, which goes away with it. Where
    ``PYKUBELET_TEST_CRI_ENDPOINT`` names a runtime it is that one instead.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if given_endpoint():
        given = GivenRuntime(given_endpoint())
        for name, archive in packed_images.items():
            given.import_image(archive, name)
        yield given
        given.destroy()
        return
    missing = [program for program in _NEEDED if shutil.which(program) is None]
    assert not missing, f"not installed: {', '.join(missing)} (see `make test`)"
    directory = Path(tempfile.mkdtemp(prefix="pk-", dir="/tmp"))
    private = PrivateContainerd(directory / "containerd", directory / "run", name="tests")
    try:
        private.start()
        for name, archive in packed_images.items():
            private.import_image(archive, name)
        network, address = private.network, str(private.socket)
        yield private
    finally:
        private.destroy()
    assert mounts_below([directory]) == [], "mounts left behind"
    assert network.bridge not in _bridges(), "bridge left behind"
    cgroups = _cgroups() | _cgroups("k8s.io")
    assert not [path for path in cgroups if network.name in path], "cgroups left behind"
    assert not [arguments for _, arguments in processes() if address in arguments], "shims left behind"
    assert os.listdir(directory) == [], "files left behind"
    directory.rmdir()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def joined(
    containerd: PrivateContainerd, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Joined]:
    """A node of a cluster, shared by the tests of a module (that run in the module's loop)."""
    base = tmp_path_factory.mktemp("joined")
    async with a_cluster() as cluster, joined_node(cluster, base, containerd) as made:
        yield made


@pytest.fixture
def cgroup_parent(containerd: PrivateContainerd, request: pytest.FixtureRequest) -> Iterator[str]:
    """A cgroup of the test's own (its path, ``/…``) for its pods; killed and removed after the test."""
    name = f"{containerd.cgroup_root}/t{zlib.crc32(request.node.nodeid.encode()):08x}"
    create_root(discover(), f"/{name}")
    yield f"/{name}"
    remove_cgroups(name)


@pytest.fixture
def no_leaks(containerd: PrivateContainerd) -> Iterator[None]:
    """The test must end with the mounts, network namespaces and cgroups that it began with."""
    roots, name = [containerd.base_dir, containerd.run_dir], containerd.cgroup_root
    # Others may have a runtime of their own on this machine: what is theirs is not ours to judge.
    before = (set(mounts_below(roots)), named_netns(containerd.run_dir), _cgroups(name))
    yield
    after = (set(mounts_below(roots)), named_netns(containerd.run_dir), _cgroups(name))
    for what, old, new in zip(("mounts", "network namespaces", "cgroups"), before, after, strict=True):
        assert new <= old, f"{what} left behind: {sorted(new - old)}"
