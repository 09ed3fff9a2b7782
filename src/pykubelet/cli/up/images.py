"""The images that ``up`` and the tests run, made on the spot from Debian's own packages.

Sources: the ``busybox`` binary of ``busybox-static`` and ``tini-static`` of ``tini``;
both are static, so that each image needs nothing but the binary.
"""

import shutil
import struct
import subprocess
from pathlib import Path

from pykubelet.cli.up.oci import Directory, Entry, File, Image, Link

#: The sandbox image; a private containerd is configured to use it for every pod.
PAUSE = "pykubelet.local/pause:v1"
#: A small userland: a shell, httpd, nc, wget and the rest of busybox.
BUSYBOX = "pykubelet.local/busybox:v1"

_PASSWD = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
_GROUP = b"root:x:0:\nnogroup:x:65534:\n"


class MissingBinary(Exception):
    """A program that the images are made from is not installed."""


def needs_loader(elf: bytes) -> bool:
    """Whether a 64-bit little-endian ELF program asks for a dynamic loader (``PT_INTERP``)."""
    if elf[:6] != b"\x7fELF\x02\x01" or len(elf) < 64:
        return False
    offset, size, count = (*struct.unpack_from("<Q", elf, 32), *struct.unpack_from("<HH", elf, 54))
    kinds = (elf[offset + i * size : offset + i * size + 4] for i in range(count))
    return b"\x03\0\0\0" in kinds


def _binary(name: str, package: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise MissingBinary(f"{name} is not installed (Debian package {package})")
    path = Path(found)
    if needs_loader(path.read_bytes()):
        raise MissingBinary(f"{path} is not a static program (Debian package {package} has one)")
    return path


def busybox_image(binary: bytes, applets: list[str]) -> Image:
    """The userland image, with one link in ``/bin`` for each applet."""
    entries: dict[str, Entry] = {
        f"bin/{applet}": Link("busybox") for applet in applets if applet != "busybox" and "/" not in applet
    }
    entries |= {
        "bin/busybox": File(binary, 0o755),
        "etc/group": File(_GROUP),
        "etc/passwd": File(_PASSWD),
        "root": Directory(0o700),
        "tmp": Directory(0o1777),
        "var/www": Directory(),
    }
    return Image(name=BUSYBOX, entries=entries, cmd=("/bin/sh",))


def pause_image(tini: bytes, busybox: bytes) -> Image:
    """The sandbox image: reaps what is orphaned to it, ends at once and cleanly on SIGTERM or SIGINT."""
    return Image(
        name=PAUSE,
        entries={"bin/tini": File(tini, 0o755), "bin/sleep": File(busybox, 0o755)},
        # 130 and 143 are how a shell tells SIGINT and SIGTERM: a pause process ends well on both.
        entrypoint=("/bin/tini", "-e", "130", "-e", "143", "--", "/bin/sleep", "2147483647"),
        user="65534:65534",
    )


def sample_images() -> list[Image]:
    """Both images, from what is installed on this machine; blocking.

    :raises MissingBinary: a package is not installed.
    """
    busybox = _binary("busybox", "busybox-static")
    tini = _binary("tini-static", "tini")
    applets = subprocess.run(
        [busybox, "--list"], check=True, capture_output=True, text=True, timeout=10
    ).stdout
    data = busybox.read_bytes()
    return [pause_image(tini.read_bytes(), data), busybox_image(data, applets.split())]
