"""What a private containerd and its network are told, as text; nothing here touches the machine.

Formats: containerd's configuration version 2 (1.6, 1.7) and 3 (2.x), and a CNI
0.4.0 network list for the standard plug-ins.
"""

import hashlib
import ipaddress
import json
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

#: Where private networks take their /24 from: rarely used by others, and not in 10.0.0.0/10.
_POOL = ipaddress.IPv4Network("10.192.0.0/10")


@dataclass(frozen=True, slots=True)
class OciRuntime:
    """One OCI runtime: a handler that RuntimeClasses may name, with a directory of its own."""

    name: str
    root: Path
    #: Its program; empty for the one that the shim calls by itself.
    program: str = ""
    #: The kind of its shim; that of runc serves every program that is called as runc is.
    shim: str = "io.containerd.runc.v2"

    @property
    def options(self) -> dict[str, object]:
        """What the shim is told; other shims than runc's have a configuration of their own."""
        if self.shim != "io.containerd.runc.v2":
            return {}
        program: dict[str, object] = {"BinaryName": self.program} if self.program else {}
        return {"Root": self.root, "SystemdCgroup": False, **program}


#: Programs and shims by which more runtimes are known, in order: handler, program, shim, its program.
_MORE_RUNTIMES = (
    ("crun", "crun", "io.containerd.runc.v2", "containerd-shim-runc-v2"),
    ("runsc", "runsc", "io.containerd.runsc.v1", "containerd-shim-runsc-v1"),
    ("kata", "", "io.containerd.kata.v2", "containerd-shim-kata-v2"),
)


def oci_runtimes(run_dir: Path, which: Callable[[str], str | None]) -> tuple[OciRuntime, ...]:
    """The runtimes that this machine has, runc first; *which* finds programs."""
    found = [OciRuntime("runc", run_dir / "runc")]
    for name, program, shim, shim_program in _MORE_RUNTIMES:
        path = which(program) if program else ""
        if path is not None and which(shim_program) is not None:
            found.append(OciRuntime(name, run_dir / name, path, shim))
    return tuple(found)


_CRUN_WRAPPER = """\
#!/bin/sh -e
# Calls crun where it finds no cgroup v2 beside v1; see pykubelet.cli.up.config.
if [ "$1" != --hidden ]; then
    exec unshare --mount --propagation slave "$0" --hidden "$@"
fi
shift
place={place}
mount -t tmpfs none "$place"
for top in /sys/fs/cgroup/*; do
    name="${{top##*/}}"
    [ "$name" != unified ] || continue
    mkdir "$place/$name"
    mount --bind "$top" "$place/$name"
done
mount --rbind "$place" /sys/fs/cgroup
exec {program} "$@"
"""


def crun_wrapper(program: str, place: Path) -> str:
    """A script that stands for crun on a machine that crun refuses; *place* is an empty directory.

    It refuses one whose second hierarchy (``unified``) has controllers, though it needs none of
    them. In a mount namespace of its own it sees all others; nothing on the machine changes.
    """
    return _CRUN_WRAPPER.format(place=shlex.quote(str(place)), program=shlex.quote(program))


@dataclass(frozen=True, slots=True)
class Settings:
    """What differs between one private containerd and another; every path is absolute."""

    root: Path
    state: Path
    socket: Path
    runtimes: tuple[OciRuntime, ...]
    opt: Path
    cni_conf: Path
    cni_bin: Path
    cni_state: Path
    sandbox_image: str
    snapshotter: str
    #: True where oom_score_adj cannot be lowered (no CAP_SYS_RESOURCE).
    restrict_oom_score_adj: bool


@dataclass(frozen=True, slots=True)
class Network:
    """The bridge network of one private containerd."""

    name: str
    bridge: str
    subnet: str


def _toml(value: object) -> str:
    """One TOML value; JSON's strings, booleans, integers and lists of strings are TOML too."""
    return json.dumps(str(value) if isinstance(value, Path) else value)


def _section(name: str, values: dict[str, object]) -> str:
    head = f"[{name}]\n" if name else ""
    return head + "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())


def parse_version(text: str) -> tuple[int, int]:
    """Major and minor of what ``containerd --version`` prints.

    :raises ValueError: no version in it.
    """
    for word in text.split():
        parts = word.removeprefix("v").split(".")
        if len(parts) >= 3 and parts[0].isdecimal() and parts[1].isdecimal():
            return int(parts[0]), int(parts[1])
    raise ValueError(f"no version in {text!r}")


def containerd_config(settings: Settings, version: tuple[int, int]) -> str:
    """The configuration file for containerd of that *version* (major, minor)."""
    if version >= (2, 0):
        return "\n".join(_common(settings, 3) + _plugins_v3(settings, version))
    return "\n".join(_common(settings, 2) + _plugins_v2(settings))


def _common(settings: Settings, version: int) -> list[str]:
    return [
        _section("", {"version": version, "root": settings.root, "state": settings.state, "oom_score": 0}),
        _section("grpc", {"address": settings.socket}),
        _section('plugins."io.containerd.internal.v1.opt"', {"path": settings.opt}),
    ]


def _runtimes(prefix: str, settings: Settings) -> list[str]:
    sections = []
    for runtime in settings.runtimes:
        at = f"{prefix}.containerd.runtimes.{runtime.name}"
        sections.append(_section(at, {"runtime_type": runtime.shim}))
        if runtime.options:
            sections.append(_section(f"{at}.options", runtime.options))
    return sections


_STREAMING: dict[str, object] = {"stream_server_address": "127.0.0.1", "stream_server_port": "0"}


def _plugins_v2(settings: Settings) -> list[str]:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return [
        _section(
            cri,
            {
                "sandbox_image": settings.sandbox_image,
                "restrict_oom_score_adj": settings.restrict_oom_score_adj,
                "netns_mounts_under_state_dir": True,
                **_STREAMING,
            },
        ),
        _section(f"{cri}.cni", {"bin_dir": settings.cni_bin, "conf_dir": settings.cni_conf}),
        _section(f"{cri}.containerd", {"default_runtime_name": "runc", "snapshotter": settings.snapshotter}),
        *_runtimes(cri, settings),
    ]


def _plugins_v3(settings: Settings, version: tuple[int, int]) -> list[str]:
    runtime, images = 'plugins."io.containerd.cri.v1.runtime"', 'plugins."io.containerd.cri.v1.images"'
    # 2.1 takes a list and warns about the single directory, which 2.0 alone knows.
    binaries: dict[str, object] = (
        {"bin_dirs": [str(settings.cni_bin)]} if version >= (2, 1) else {"bin_dir": settings.cni_bin}
    )
    return [
        _section('plugins."io.containerd.grpc.v1.cri"', _STREAMING),
        _section(images, {"snapshotter": settings.snapshotter}),
        _section(f"{images}.pinned_images", {"sandbox": settings.sandbox_image}),
        _section(
            runtime,
            {
                "restrict_oom_score_adj": settings.restrict_oom_score_adj,
                "netns_mounts_under_state_dir": True,
            },
        ),
        _section(f"{runtime}.cni", {**binaries, "conf_dir": settings.cni_conf}),
        _section(f"{runtime}.containerd", {"default_runtime_name": "runc"}),
        *_runtimes(runtime, settings),
        # Its socket has one fixed path, which a private containerd must not take.
        _section('plugins."io.containerd.nri.v1.nri"', {"disable": True}),
    ]


def cni_config(network: Network, state: Path) -> str:
    """The network list: a bridge with masquerading, and host ports."""
    bridge = {
        "type": "bridge",
        "bridge": network.bridge,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(state),
            "ranges": [[{"subnet": network.subnet}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": network.name, "plugins": [bridge, ports]}, indent=1)


def choose_network(identity: str, taken: Iterable[str]) -> Network:
    """A network of its own for *identity*: the same one each time unless a *taken* subnet overlaps it.

    :raises ValueError: every subnet of the pool is taken.
    """
    digest = hashlib.sha256(identity.encode()).digest()
    used = [ipaddress.IPv4Network(text) for text in taken]
    count = 1 << (24 - _POOL.prefixlen)
    start = int.from_bytes(digest[:4])
    for step in range(count):
        address = _POOL.network_address + ((start + step) % count << 8)
        subnet = ipaddress.IPv4Network((address, 24))
        if not any(subnet.overlaps(other) for other in used):
            name = f"pk{digest.hex()[:10]}"
            return Network(name=name, bridge=name, subnet=str(subnet))
    raise ValueError(f"no free subnet in {_POOL}")


def without_network(rules: str, name: str) -> str:
    """The changes, as ``iptables-restore --noflush`` input, that take a network's rules out of *rules*.

    *rules* is what ``iptables-save -t nat`` prints. The plug-ins write the network's
    name into the comment of the rule that leads to a pod's chain. The shared chains of
    host ports go too once no network uses them. Empty when there is nothing to do.
    """
    lines = [line for line in rules.splitlines() if line.startswith("-A ")]
    ours = [line for line in lines if f'name: \\"{name}\\"' in line or f'name: "{name}"' in line]
    doomed = {_target(line) for line in ours} & {
        line[1:].split()[0] for line in rules.splitlines() if line.startswith(":CNI-")
    }
    kept = [line for line in lines if line not in ours and _chain(line) not in doomed]
    chains = {line[1:].split()[0] for line in rules.splitlines() if line.startswith(":CNI-HOSTPORT-")}
    if ours and chains and not any(_chain(line) == "CNI-HOSTPORT-DNAT" for line in kept):
        ours += [line for line in kept if _target(line) in chains and _chain(line) not in chains]
        doomed |= chains
    jumps = [line for line in ours if _chain(line) not in doomed]
    if not jumps and not doomed:
        return ""
    orders = [f"-D {line[3:]}" for line in jumps]
    orders += [f"-F {chain}" for chain in sorted(doomed)] + [f"-X {chain}" for chain in sorted(doomed)]
    return "\n".join(["*nat", *orders, "COMMIT", ""])


def _chain(rule: str) -> str:
    return rule.split()[1]


def _target(rule: str) -> str:
    words = rule.split()
    return words[words.index("-j") + 1] if "-j" in words[:-1] else ""
