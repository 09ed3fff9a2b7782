import pytest

from pykubelet.config.defaults import legacy
from pykubelet.config.flags import set_path
from pykubelet.config.gates import FeatureGates
from pykubelet.config.host import HostFacts, check_host

V1, V2 = HostFacts(cgroup_version=1), HostFacts(cgroup_version=2)


@pytest.mark.parametrize(
    ("fields", "host", "named"),
    [
        ({}, V2, []),
        ({}, V1, ["failCgroupV1 (--fail-cgroupv1)"]),
        ({"failCgroupV1": False}, V1, []),
        ({"singleProcessOOMKill": False}, V2, []),
        ({"failCgroupV1": False, "singleProcessOOMKill": False}, V1, ["singleProcessOOMKill"]),
        ({"failCgroupV1": False, "singleProcessOOMKill": True}, V1, []),
        ({"failCgroupV1": False, "memorySwap.swapBehavior": "LimitedSwap"}, V1, ["memorySwap.swapBehavior"]),
        ({}, HostFacts(2, swap_on=True), ["failSwapOn (--fail-swap-on)"]),
        ({"failSwapOn": False}, HostFacts(2, swap_on=True), []),
        ({"cgroupDriver": "systemd"}, V2, ["cgroupDriver (--cgroup-driver)"]),
        (
            {"reservedSystemCPUs": "0-3"},
            HostFacts(2, online_cpus=frozenset({0, 1})),
            ["CPUs 2, 3 are not online"],
        ),
        ({"reservedSystemCPUs": "0-3"}, V2, []),
    ],
)
def test_host(fields: dict[str, object], host: HostFacts, named: list[str]) -> None:
    config = legacy(FeatureGates())
    for path, value in fields.items():
        set_path(config, path, value)
    reasons = check_host(config, host)
    assert len(reasons) == len(named)
    assert all(name in reason for name, reason in zip(named, reasons, strict=True))
