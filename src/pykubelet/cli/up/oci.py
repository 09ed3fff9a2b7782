"""A small packer of OCI images: files in, a deterministic image archive out, no network.

The same files give the same bytes, so digests can be compared between machines and
an import that changes nothing can be skipped. Layout and media types are those of
the OCI image specification 1.0; the layer is an uncompressed tar.
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_CONFIG = "application/vnd.oci.image.config.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"

#: Names of machines as ``uname -m`` gives them, in OCI's (Go's) spelling.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


@dataclass(frozen=True, slots=True)
class File:
    """A regular file of an image."""

    data: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link of an image."""

    target: str


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory of an image; parents of files need not be named."""

    mode: int = 0o755


Entry = File | Link | Directory


@dataclass(frozen=True, slots=True)
class Image:
    """What an image holds; paths in *entries* are relative to its root, without ``./``."""

    name: str
    entries: Mapping[str, Entry]
    entrypoint: Sequence[str] = ()
    cmd: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/bin"})
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    architecture: str = _ARCHITECTURES.get(platform.machine(), platform.machine())


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _with_parents(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Every entry and, where not given, the directories above it."""
    whole: dict[str, Entry] = {}
    for path in sorted(entries):
        parts = path.split("/")
        if path.startswith("/") or not all(parts) or ".." in parts or "." in parts:
            raise ValueError(f"image path {path!r} is not a clean relative path")
        for depth in range(1, len(parts)):
            whole.setdefault("/".join(parts[:depth]), Directory())
        whole[path] = entries[path]
    return dict(sorted(whole.items()))


def _add(archive: tarfile.TarFile, path: str, entry: Entry) -> None:
    """Append *entry* with nothing in its header that differs between two runs."""
    info = tarfile.TarInfo(path)
    match entry:
        case File():
            info.size, info.mode = len(entry.data), entry.mode
            archive.addfile(info, io.BytesIO(entry.data))
        case Link():
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.target, 0o777
            archive.addfile(info)
        case Directory():
            info.type, info.mode = tarfile.DIRTYPE, entry.mode
            archive.addfile(info)


def _tar(entries: Mapping[str, Entry]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, entry in entries.items():
            _add(archive, path, entry)
    return buffer.getvalue()


def _config(image: Image, layer: bytes) -> bytes:
    run: dict[str, object] = {"Env": [f"{key}={value}" for key, value in sorted(image.env.items())]}
    optional = {
        "Entrypoint": list(image.entrypoint),
        "Cmd": list(image.cmd),
        "User": image.user,
        "WorkingDir": image.working_dir,
        "StopSignal": image.stop_signal,
    }
    run.update({key: value for key, value in optional.items() if value})
    return _json(
        {
            "architecture": image.architecture,
            "os": "linux",
            "config": run,
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}


def pack(image: Image) -> bytes:
    """The image as a tar of an OCI layout, ready for ``ctr images import``.

    :raises ValueError: a path in it is absolute or not clean, or the name has no tag.
    """
    _, colon, tag = image.name.rpartition(":")
    if not colon or "/" in tag:
        raise ValueError(f"image name {image.name!r} has no tag")
    layer = _tar(_with_parents(image.entries))
    config = _config(image, layer)
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, config),
            "layers": [_descriptor(_LAYER, layer)],
        }
    )
    entry = _descriptor(_MANIFEST, manifest) | {
        "platform": {"architecture": image.architecture, "os": "linux"},
        "annotations": {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": tag},
    }
    layout: dict[str, Entry] = {
        "oci-layout": File(_json({"imageLayoutVersion": "1.0.0"})),
        "index.json": File(_json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [entry]})),
    }
    blobs = {f"blobs/sha256/{_digest(data)[7:]}": File(data) for data in (layer, config, manifest)}
    return _tar(_with_parents(layout | blobs))
