import pytest

from pykubelet.api.admission import Rejection
from pykubelet.api.core import PodSecurityContext, Sysctl
from pykubelet.pods.admission.sysctls import SysctlAllowList, normalized, safe_sysctls


@pytest.mark.parametrize(
    ("kernel", "count"), [("6.1.0-13-amd64", 12), ("4.15.0", 12), ("4.5", 9), ("3.10.0", 5), ("?", 5)]
)
def test_safe(kernel, count):
    assert len(safe_sysctls(kernel)) == count


@pytest.mark.parametrize(
    ("name", "spec", "why"),
    [
        ("net.ipv4.tcp_syncookies", {}, None),
        ("net/ipv4/tcp_syncookies", {}, None),
        ("kernel.shm_rmid_forced", {}, None),
        ("kernel.msgmax", {}, None),
        ("net.core.somaxconn", {}, '"net.core.somaxconn" not allowlisted'),
        ("kernel.sem", {}, '"kernel.sem" not allowlisted'),
        (
            "net.ipv4.tcp_syncookies",
            {"hostNetwork": True},
            '"net.ipv4.tcp_syncookies" not allowed with host Net enabled',
        ),
        ("kernel.msgmax", {"hostIPC": True}, '"kernel.msgmax" not allowed with host IPC enabled'),
        ("kernel.msgmax", {"hostNetwork": True}, None),
    ],
)
def test_pods(make_pod, name, spec, why):
    allowed = SysctlAllowList([*safe_sysctls("6.1"), "kernel.msg*"])
    pod = make_pod(securityContext=PodSecurityContext(sysctls=[Sysctl(name=name, value="1")]), **spec)
    expected = Rejection("SysctlForbidden", f"forbidden sysctl: {why}") if why else None
    assert allowed.admit(pod, []) == expected


def test_none_wanted(make_pod):
    assert SysctlAllowList([]).admit(make_pod(), []) is None


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("Net.x", "must have at most 253 characters"),
        ("net.*.x", "must have at most 253 characters"),
        ("vm.swappiness", 'the sysctls "vm.swappiness" are not known to be namespaced'),
    ],
)
def test_bad_patterns(pattern, text):
    with pytest.raises(ValueError, match=text):
        SysctlAllowList([pattern])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("net.ipv4.conf.eno2/100.rp_filter", "net.ipv4.conf.eno2/100.rp_filter"),
        ("net/ipv4/conf/eno2.100/rp_filter", "net.ipv4.conf.eno2/100.rp_filter"),
        ("", ""),
    ],
)
def test_normalized(name, expected):
    assert normalized(name) == expected
