"""The image packer: the same bytes each time, and a layout as the specification has it."""

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.cli.up.images import BUSYBOX, PAUSE, busybox_image, needs_loader, pause_image
from pykubelet.cli.up.oci import Directory, File, Image, Link, pack

IMAGE = Image(
    name="example.local/app:v1",
    entries={"usr/bin/app": File(b"#!x", 0o755), "bin": Link("usr/bin"), "tmp": Directory(0o1777)},
    entrypoint=("/bin/app",),
    env={"PATH": "/bin", "A": "1"},
    user="1:2",
    stop_signal="SIGINT",
    architecture="amd64",
)


def _files(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}


def _parts(archive: bytes) -> tuple[dict, dict, dict, bytes]:
    """Index entry, manifest, config and layer, each found through its digest."""
    files = _files(archive)

    def blob(descriptor: dict) -> bytes:
        data = files["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")]
        assert len(data) == descriptor["size"]
        assert hashlib.sha256(data).hexdigest() == descriptor["digest"][7:]
        return data

    entry = json.loads(files["index.json"])["manifests"][0]
    manifest = json.loads(blob(entry))
    return entry, manifest, json.loads(blob(manifest["config"])), blob(manifest["layers"][0])


def test_layout_is_whole_and_every_digest_fits() -> None:
    archive = pack(IMAGE)
    assert json.loads(_files(archive)["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    entry, manifest, config, layer = _parts(archive)
    assert entry["annotations"]["io.containerd.image.name"] == IMAGE.name
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "v1"
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    assert config["config"] == {
        "Entrypoint": ["/bin/app"],
        "Env": ["A=1", "PATH=/bin"],
        "StopSignal": "SIGINT",
        "User": "1:2",
    }
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        members = {m.name: m for m in tar.getmembers()}
    assert list(members) == ["bin", "tmp", "usr", "usr/bin", "usr/bin/app"]
    assert members["usr/bin/app"].mode == 0o755
    assert members["tmp"].mode == 0o1777
    assert members["bin"].linkname == "usr/bin"
    assert {(m.mtime, m.uid, m.gid, m.uname) for m in members.values()} == {(0, 0, 0, "")}


def test_digest_is_the_same_on_every_machine() -> None:
    assert hashlib.sha256(pack(IMAGE)).hexdigest() == hashlib.sha256(pack(IMAGE)).hexdigest()
    _, manifest, _, _ = _parts(pack(IMAGE))
    assert (
        manifest["config"]["digest"]
        == "sha256:5299a9a657eac65bf565381f60d35966e54cf46222602514bb24c08116e6468d"
    )


names = st.text("abcxyz", min_size=1, max_size=5)


@given(st.dictionaries(names, st.binary(max_size=50), max_size=6))
def test_order_of_entries_does_not_matter(files: dict[str, bytes]) -> None:
    entries = {f"d/{name}": File(data) for name, data in files.items()}
    backwards = dict(reversed(entries.items()))
    assert pack(Image("x/y:1", entries)) == pack(Image("x/y:1", backwards))


@pytest.mark.parametrize("path", ["/etc/x", "a/../b", "a//b", "./a", "a/", ""])
def test_unclean_paths_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a clean relative path"):
        pack(Image("x/y:1", {path: File(b"")}))


@pytest.mark.parametrize("name", ["noport", "host:5000/name"])
def test_a_name_needs_a_tag(name: str) -> None:
    with pytest.raises(ValueError, match="no tag"):
        pack(Image(name, {}))


def test_sample_images_hold_what_they_run() -> None:
    busybox = busybox_image(b"ELF", ["[", "sh", "busybox", "httpd"])
    assert busybox.name == BUSYBOX
    assert busybox.entries["bin/httpd"] == Link("busybox")
    assert busybox.entries["bin/["] == Link("busybox")
    assert busybox.entries["bin/busybox"] == File(b"ELF", 0o755)
    pause = pause_image(b"TINI", b"ELF")
    assert pause.name == PAUSE
    assert pause.entrypoint[0].lstrip("/") in pause.entries
    assert "bin/sleep" in pause.entries


def test_a_dynamic_program_is_told_from_a_static_one() -> None:
    assert needs_loader(Path(sys.executable).resolve().read_bytes())
    assert not needs_loader(b"#!/bin/sh\n")
