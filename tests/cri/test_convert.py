"""Wire messages as the frozen types, also where a runtime leaves things out or is newer than we are."""

import pytest

from pykubelet.cri import convert
from pykubelet.cri.stats import Pressure, PressureStats
from pykubelet.cri.types import ContainerState, SandboxState
from pykubelet.rpc import cri_v1


@pytest.mark.parametrize(
    ("info", "read"),
    [
        ("", (0, "")),
        ('{"pid":42,"sandboxID":"s","runtimeSpec":{"pid":7}}', (42, "s")),
        ('{"image":"x"}', (0, "")),
        ('{"pid":-1}', (0, "")),
        ('{"pid":"42"}', (0, "")),
        ("not json", (0, "")),
        ('{"pid":42', (0, "")),
    ],
)
def test_verbose_info(info, read):
    assert convert.verbose_info(info) == read


def test_states_of_a_newer_runtime():
    assert [convert.container_state(value) for value in (0, 1, 2, 3, 9)] == [
        ContainerState.CREATED,
        ContainerState.RUNNING,
        ContainerState.EXITED,
        ContainerState.UNKNOWN,
        ContainerState.UNKNOWN,
    ]
    assert convert.sandbox_state(0) is SandboxState.READY
    assert convert.sandbox_state(5) is SandboxState.NOTREADY


def test_empty_container():
    status = convert.container_status(cri_v1.ContainerStatus(id="c"))
    assert (status.resources, status.user, status.stop_signal, status.pid) == (None, None, "", 0)


def test_full_container():
    message = cri_v1.ContainerStatus(
        id="c",
        metadata=cri_v1.ContainerMetadata(name="n", attempt=2),
        state=cri_v1.CONTAINER_EXITED,
        exit_code=-1,
        stop_signal=cri_v1.SIGRTMINPLUS3,
        user=cri_v1.ContainerUser(linux=cri_v1.LinuxContainerUser(uid=1, gid=2, supplemental_groups=[3])),
        mounts=[cri_v1.Mount(container_path="/a", host_path="/b", readonly=True, recursive_read_only=True)],
    )
    message.resources.linux.cpu_shares = 5
    status = convert.container_status(message, '{"pid":9}')
    assert (status.name, status.attempt, status.exit_code) == ("n", 2, -1)
    assert (status.stop_signal, status.pid) == ("SIGRTMINPLUS3", 9)
    assert status.user.supplemental_groups == (3,)
    assert status.resources.cpu_shares == 5
    assert (status.mounts[0].container_path, status.mounts[0].recursive_read_only) == ("/a", True)


def test_sandbox_addresses():
    message = cri_v1.PodSandboxStatus(id="s")
    assert not convert.sandbox_status(message).network_reported
    message.network.SetInParent()
    status = convert.sandbox_status(message)
    assert (status.ips, status.network_reported, status.host_network) == ((), True, False)
    message.network.ip = "10.0.0.1"
    message.network.additional_ips.add(ip="fd00::1")
    message.linux.namespaces.options.network = cri_v1.NODE
    status = convert.sandbox_status(message)
    assert (status.ips, status.host_network) == (("10.0.0.1", "fd00::1"), True)


def test_image_user():
    assert convert.image(cri_v1.Image(id="i")).uid is None
    assert convert.image(cri_v1.Image(id="i", uid=cri_v1.Int64Value(value=0))).uid == 0


def test_features():
    status = convert.runtime_status(
        cri_v1.StatusResponse(
            runtime_handlers=[
                cri_v1.RuntimeHandler(
                    name="runc", features=cri_v1.RuntimeHandlerFeatures(user_namespaces=True)
                )
            ],
            features=cri_v1.RuntimeFeatures(supplemental_groups_policy=True),
        )
    )
    assert status.handlers[0].user_namespaces and not status.handlers[0].recursive_read_only_mounts
    assert status.supplemental_groups_policy is True
    assert convert.runtime_status(cri_v1.StatusResponse()).supplemental_groups_policy is None
    assert status.condition("RuntimeReady") is None


def test_event_of_a_newer_runtime():
    assert convert.event(cri_v1.ContainerEventResponse(container_event_type=9)).type == "9"


def test_figures_that_are_missing_are_none():
    empty = convert.container_stats(cri_v1.ContainerStats())
    assert (empty.cpu, empty.memory, empty.writable_layer, empty.swap, empty.io) == (None,) * 5
    item = cri_v1.ContainerStats(
        cpu=cri_v1.CpuUsage(timestamp=1, usage_core_nano_seconds=cri_v1.UInt64Value(value=0))
    )
    item.cpu.psi.Some.Avg10 = 1.5
    cpu = convert.container_stats(item).cpu
    assert (cpu.usage_core_nano_seconds, cpu.usage_nano_cores) == (0, None)
    assert cpu.psi == PressureStats(None, Pressure(0, 1.5, 0.0, 0.0))


def test_sandbox_stats():
    item = cri_v1.PodSandboxStats(
        attributes=cri_v1.PodSandboxAttributes(
            id="s", metadata=cri_v1.PodSandboxMetadata(name="p", namespace="n", uid="u")
        )
    )
    item.linux.network.default_interface.name = "eth0"
    item.linux.network.default_interface.rx_bytes.value = 7
    item.linux.process.process_count.value = 3
    item.linux.containers.add().attributes.id = "c"
    stats = convert.sandbox_stats(item)
    assert (stats.id, stats.uid, stats.process_count) == ("s", "u", 3)
    assert (stats.network.default.rx_bytes, stats.network.default.tx_bytes) == (7, None)
    assert [c.id for c in stats.containers] == ["c"]
