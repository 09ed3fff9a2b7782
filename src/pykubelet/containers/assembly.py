"""Gathering everything that a sandbox and a container are configured from."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pykubelet.api.core import Container, Pod
from pykubelet.api.downward import DownwardFacts
from pykubelet.api.ips import one_per_family
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.qos import qos_class
from pykubelet.base.errors import VolumeError
from pykubelet.base.gotext import go_os_error
from pykubelet.base.layout import Layout
from pykubelet.cri.types import Image
from pykubelet.rpc import cri_v1

from . import files, hosts
from .container_config import ContainerParts, container_config
from .dns import MAX_FILE, ClusterDns, DnsEvent, Resolver, check_limits, parse_resolv_conf, pod_dns
from .doors import (
    ContainerContributor,
    Contribution,
    NodeView,
    Objects,
    RuntimeClasses,
    Services,
    UserNamespaces,
    VolumePaths,
)
from .env import environment, gather
from .hostname import hostname_and_domain
from .linux_resources import MachineFacts, container_resources
from .mounts import PlannedMount, absolute, bind, block_devices, plan_mounts, wants_hosts_file
from .sandbox_config import sandbox_config
from .security import ImageUser, SecurityFacts, container_security, thermal_throttle_paths
from .settings import ContainerSettings

_NODE_HOSTS = Path(hosts.CONTAINER_PATH)


def _read_bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_FILE)


def image_user(image: Image | None) -> ImageUser:
    """Whom the image runs as."""
    if image is not None and image.uid is not None:
        return ImageUser(image.uid)
    if image is not None and image.username:
        return ImageUser(None, image.username)
    return ImageUser()


class Assembly:
    """Computes configurations, reading what they depend on."""

    def __init__(
        self,
        layout: Layout,
        settings: ContainerSettings,
        volumes: VolumePaths,
        node: NodeView,
        cgroup_parent: Callable[[Pod], str],
        contributors: Sequence[ContainerContributor],
        objects: Objects,
        services: Services,
        runtime_classes: RuntimeClasses,
        user_namespaces: UserNamespaces | None,
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._volumes = volumes
        self._node = node
        self._cgroup_parent = cgroup_parent
        self._contributors = contributors
        self._objects = objects
        self._services = services
        self._runtime_classes = runtime_classes
        self._user_namespaces = user_namespaces
        self._cluster_dns = ClusterDns(
            settings.cluster_dns, settings.cluster_domain, settings.resolv_conf, settings.loopbacks
        )
        self._thermal: tuple[str, ...] | None = None

    def handler(self, pod: Pod) -> str:
        """The pod's runtime handler.

        :raises LookupError: there is no such RuntimeClass.
        """
        return self._runtime_classes.handler(pod.spec.runtimeClassName)

    async def _resolver_file(self) -> str:
        """What the node's resolver file holds; nothing without one.

        :raises ValueError: it cannot be read; upstream's text.
        """
        path = self._settings.resolv_conf
        if not path:
            return ""
        try:
            data = await asyncio.to_thread(_read_bounded, Path(path))
        except OSError as error:
            raise ValueError(go_os_error("open", error)) from error
        return data.decode(errors="replace")

    async def resolver_problem(self) -> str:
        """What is wrong with the node's resolver file; empty if nothing is."""
        if not self._settings.resolv_conf:
            return ""
        try:
            return check_limits(parse_resolv_conf(await self._resolver_file()), self._cluster_dns)
        except ValueError as error:
            return str(error)

    async def resolver(self, pod: Pod) -> tuple[Resolver, tuple[DnsEvent, ...]]:
        """The pod's resolver configuration with its warnings.

        :raises ValueError: the node's resolver file cannot be read.
        """
        text = await self._resolver_file()
        try:
            host = parse_resolv_conf(text)
        except ValueError as error:
            what = "Encountered error while parsing resolv conf file. Error"
            raise ValueError(f"{what}: {error}") from error
        return pod_dns(pod, host, self._cluster_dns)

    async def sandbox(self, pod: Pod, attempt: int, resolver: Resolver) -> cri_v1.PodSandboxConfig:
        """The configuration of the pod's sandbox.

        :raises OSError, ValueError, LookupError: the text is for the event.
        """
        return sandbox_config(
            pod,
            attempt,
            resolver=resolver,
            cgroup_parent=self._cgroup_parent(pod),
            security=await self._security(pod),
            settings=self._settings,
            layout=self._layout,
        )

    async def _security(self, pod: Pod, target_id: str = "") -> SecurityFacts:
        if self._thermal is None:
            self._thermal = await asyncio.to_thread(thermal_throttle_paths)
        mounted = self._volumes.mounted(pod.metadata.uid).values()
        return SecurityFacts(
            user_range=await self._user_range(pod),
            volume_gids=tuple(sorted({v.gid for v in mounted if v.gid is not None})),
            seccomp_default=self._settings.seccomp_default,
            seccomp_root=self._layout.seccomp,
            thermal_paths=self._thermal,
            target_id=target_id,
        )

    async def _user_range(self, pod: Pod) -> tuple[int, int] | None:
        if pod.spec.hostUsers is not False:
            return None
        name = self.handler(pod)
        handler = self._node.runtime_handler(name)
        refused = "can't set `spec.hostUsers: false`"
        if handler is None or not handler.user_namespaces:
            who = f'RuntimeClass handler "{name}"' if name else "runtime"
            text = f"{refused}, {who} does not support user namespaces"
            # A runtime that tells of handlers tells of its default one, too.
            unknown = handler is None and self._node.runtime_handler("") is not None
            raise ValueError(f'{text}: the handler "{name}" is not known' if unknown else text)
        if self._user_namespaces is None:
            raise ValueError(f"{refused}, this node has no ID ranges for user namespaces")
        return await self._user_namespaces.mapping(pod)

    async def container(
        self,
        pod: Pod,
        container: Container,
        restart_count: int,
        image_ref: str,
        image: Image | None,
        ips: Sequence[str],
        target_id: str,
        image_volumes: Mapping[str, cri_v1.ImageSpec],
    ) -> cri_v1.ContainerConfig:
        """The configuration of one instance of the container; makes the files that it mounts.

        *image_volumes* are the images of its image volumes, by the volume's name.

        :raises OSError, ValueError, LookupError, VolumeError: the text is for the container's status.
        :raises StartError: a manager cannot give what the container needs.
        """
        meta = pod.metadata
        extras = [await contributor.contribute(pod, container) for contributor in self._contributors]
        mounted = self._volumes.mounted(meta.uid)
        devices = block_devices(container, mounted)
        env = await self._environment(pod, container, mounted, ips)
        visible = {name: value for extra in extras for name, value in extra.env} | env
        # Before the mounts: what is refused here leaves no file behind.
        security = container_security(pod, container, image_user(image), await self._security(pod, target_id))
        mounts = await self._mounts(pod, container, mounted, visible, ips, extras, image_volumes)
        machine = MachineFacts(
            self._node.memory_capacity, self._node.swap_capacity, self._node.huge_page_sizes
        )
        logs = self._layout.container_log(meta.namespace, meta.name, meta.uid, container.name, restart_count)
        await asyncio.to_thread(files.make_log_dir, logs.parent)
        parts = ContainerParts(
            image_ref=image_ref,
            restart_count=restart_count,
            env=env,
            mounts=mounts,
            devices=devices,
            security=security,
            resources=container_resources(
                pod,
                container,
                qos_class(pod),
                self._settings,
                machine,
                exclusive_cpus=any(extra.exclusive_cpus for extra in extras),
            ),
            contributions=extras,
            stop_signals=self._settings.container_stop_signals,
        )
        return container_config(pod, container, parts)

    async def _environment(
        self, pod: Pod, container: Container, mounted: Mapping[str, MountedVolume], ips: Sequence[str]
    ) -> dict[str, str]:
        host_ips = self._node.host_ips
        told = one_per_family(ips, ipv6_first=bool(host_ips) and ":" in host_ips[0])
        downward = DownwardFacts(told, host_ips, self._node.allocatable)
        facts = await gather(
            pod,
            container,
            self._objects,
            self._services,
            mounted,
            downward,
            env_files=self._settings.env_files,
        )
        return environment(pod, container, facts)

    async def _mounts(
        self,
        pod: Pod,
        container: Container,
        mounted: Mapping[str, MountedVolume],
        env: Mapping[str, str],
        ips: Sequence[str],
        extras: Sequence[Contribution],
        images: Mapping[str, cri_v1.ImageSpec],
    ) -> list[cri_v1.Mount]:
        handler = self._node.runtime_handler(self.handler(pod))
        recursive = handler is not None and handler.recursive_read_only_mounts
        mounts = [bind(mount) for extra in extras for mount in extra.mounts]
        plan = plan_mounts(
            container, mounted, env, recursive_supported=recursive, selinux=self._settings.selinux
        )
        mounts += [
            mount.message(await self._host_path(pod, container, mount), images.get(mount.name))
            for mount in plan
        ]
        if wants_hosts_file(container, host_network=pod.spec.hostNetwork, has_ips=bool(ips)):
            mounts.append(await self._hosts_mount(pod, ips))
        if container.terminationMessagePath:
            uid = pod.metadata.uid
            log = await asyncio.to_thread(files.make_termination_log, self._layout, uid, container.name)
            target = absolute(container.terminationMessagePath)
            mounts.append(self._own_mount(log, target))
        return mounts

    async def _host_path(self, pod: Pod, container: Container, planned: PlannedMount) -> str:
        if not planned.subpath or planned.volume.image:
            return planned.volume.host_path
        try:
            return await self._volumes.prepare_subpath(
                pod.metadata.uid, planned.volume, container.name, planned.index, planned.subpath
            )
        except (VolumeError, OSError, ValueError) as error:
            # No details: they would tell of the host's file system.
            raise ValueError(
                f'failed to prepare subPath for volumeMount "{planned.name}" of container "{container.name}"'
            ) from error

    async def _hosts_mount(self, pod: Pod, ips: Sequence[str]) -> cri_v1.Mount:
        spec = pod.spec
        if spec.hostNetwork:
            node_hosts = await asyncio.to_thread(_read_bounded, _NODE_HOSTS)
            content = hosts.host_network_hosts(node_hosts, spec.hostAliases)
        else:
            name, domain = hostname_and_domain(
                pod, self._settings.cluster_domain, override=self._settings.hostname_override
            )
            content = hosts.pod_hosts(ips, name, domain, spec.hostAliases)
        path = await asyncio.to_thread(files.write_hosts, self._layout, pod.metadata.uid, content)
        return self._own_mount(path, hosts.CONTAINER_PATH)

    def _own_mount(self, path: Path, target: str) -> cri_v1.Mount:
        return cri_v1.Mount(
            host_path=str(path), container_path=target, selinux_relabel=self._settings.selinux
        )
