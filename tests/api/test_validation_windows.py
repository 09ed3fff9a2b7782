"""Fields for Windows: their own form, and that Linux pods have none."""

import pytest

from pykubelet.api.core import (
    Capabilities,
    Container,
    PodOS,
    PodSecurityContext,
    PodSpec,
    SecurityContext,
    WindowsSecurityContextOptions,
)
from pykubelet.api.fielderrors import FieldErrors
from pykubelet.api.validation_windows import check_windows

Options = WindowsSecurityContextOptions


def found(*containers, options=None, os="", **spec):
    shared = spec.pop("securityContext", None) or PodSecurityContext(windowsOptions=options)
    errors = FieldErrors()
    made = PodSpec(
        containers=list(containers) or [Container(name="c")],
        securityContext=shared,
        os=PodOS(name=os) if os else None,
        **spec,
    )
    check_windows(made, "spec", errors)
    return [str(error) for error in errors]


def own(**fields):
    return Container(name="c", securityContext=SecurityContext(windowsOptions=Options(**fields)))


def test_a_linux_pod_has_no_windows_options():
    text = "Forbidden: windows options cannot be set for a linux pod"
    assert found(own(), options=Options(), os="linux") == [
        f"spec.securityContext.windowsOptions: {text}",
        f"spec.containers[0].securityContext.windowsOptions: {text}",
    ]
    assert found(os="linux") == []
    # A pod that does not say whose it is may have them; a Linux node ignores them.
    assert found(own(), options=Options()) == []


def test_a_windows_pod_has_nothing_of_linux():
    every = SecurityContext(
        runAsUser=1,
        privileged=False,
        capabilities=Capabilities(),
        procMount="Default",
        windowsOptions=Options(),
    )
    shared = PodSecurityContext(fsGroup=1, supplementalGroups=[2], supplementalGroupsPolicy="Strict")
    texts = found(
        Container(name="c", securityContext=every), os="windows", securityContext=shared, hostPID=True
    )
    at = "spec.containers[0].securityContext"
    assert texts == [
        f"{path}: Forbidden: cannot be set for a windows pod"
        for path in (
            "spec.hostPID",
            "spec.securityContext.fsGroup",
            "spec.securityContext.supplementalGroupsPolicy",
            "spec.securityContext.supplementalGroups",
            f"{at}.capabilities",
            f"{at}.privileged",
            f"{at}.procMount",
            f"{at}.runAsUser",
        )
    ]


def test_host_processes():
    assert found(own(hostProcess=True), Container(name="d")) == [
        'spec: Invalid value: "": If pod contains any hostProcess containers then all containers must be '
        "HostProcess containers",
        "spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess "
        "containers",
    ]
    assert found(own(), options=Options(hostProcess=True), hostNetwork=True) == []
    assert found(own(hostProcess=False), options=Options(hostProcess=True), hostNetwork=True) == [
        "spec.containers[0].securityContext.windowsOptions.hostProcess: Invalid value: false: "
        "pod hostProcess value must be identical if both are specified, was true"
    ]


@pytest.mark.parametrize(
    ("user", "problem"),
    [
        ("", "runAsUserName cannot be an empty string"),
        ("a\tb", "runAsUserName cannot contain control characters"),
        ("a\\b\\c", "runAsUserName cannot contain more than one backslash"),
        ("x" * 256 + "\\u", "runAsUserName's Domain length must be under 256 characters"),
        ("do?main\\u", "runAsUserName's Domain doesn't match the NetBios nor the DNS format"),
        ("dom\\", "runAsUserName's User cannot be empty"),
        ("u" * 105, "runAsUserName's User length must not be longer than 104 characters"),
        ("..", "runAsUserName's User cannot contain only periods or spaces"),
        ("a?", "runAsUserName's User cannot contain the following characters"),
    ],
)
def test_names_that_no_user_has(user, problem):
    texts = found(options=Options(runAsUserName=user))
    assert any(text.split(": ", 3)[3].startswith(problem) for text in texts), texts


def test_options_that_are_sound():
    assert found(own(runAsUserName="NT AUTHORITY\\Local Service", gmsaCredentialSpecName="spec-1")) == []
    assert found(options=Options(gmsaCredentialSpecName="No", gmsaCredentialSpec="")) != []
    assert "must be under 64 KiB" in found(options=Options(gmsaCredentialSpec="x" * 65537))[0]
