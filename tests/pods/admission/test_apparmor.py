import msgspec
import pytest

from pykubelet.api.core import AppArmorProfile, PodSecurityContext, PodStatus, SecurityContext
from pykubelet.pods.admission import AppArmor

KEY = "container.apparmor.security.beta.kubernetes.io/c"
OFF = "Cannot enforce AppArmor: AppArmor is not enabled on the host"
LOCAL = AppArmorProfile(type="Localhost", localhostProfile="strict")


def with_field(make_pod, profile):
    pod = make_pod()
    pod.spec.containers[0].securityContext = SecurityContext(appArmorProfile=profile)
    return pod


def pods(make_pod):
    default = AppArmorProfile(type="RuntimeDefault")
    return {
        "annotation": make_pod(annotations={KEY: "runtime/default"}),
        "field": with_field(make_pod, LOCAL),
        "pod": make_pod(securityContext=PodSecurityContext(appArmorProfile=default)),
    }


@pytest.mark.parametrize("which", ["annotation", "field", "pod"])
def test_a_node_without_apparmor_refuses_profiles(make_pod, which):
    pod = pods(make_pod)[which]
    rejection = AppArmor(enabled=False).admit(pod, ())
    assert (rejection.reason, rejection.message) == ("AppArmor", OFF)
    assert AppArmor(enabled=True).admit(pod, ()) is None


def test_what_asks_for_nothing_is_taken(make_pod):
    free = AppArmorProfile(type="Unconfined")
    for pod in (make_pod(), make_pod(annotations={KEY: "unconfined"}), with_field(make_pod, free)):
        assert AppArmor(enabled=False).admit(pod, ()) is None


def test_what_runs_already_is_not_asked_again(make_pod):
    running = msgspec.structs.replace(with_field(make_pod, LOCAL), status=PodStatus(phase="Running"))
    assert AppArmor(enabled=False).admit(running, ()) is None


@pytest.mark.parametrize("value", ["localhost/", "localhost/ "])
def test_a_profile_needs_a_name(make_pod, value):
    rejection = AppArmor(enabled=True).admit(make_pod(annotations={KEY: value}), ())
    assert rejection.message == f'Cannot enforce AppArmor: invalid empty AppArmor profile name: "{value}"'
