"""Security contexts: whose field wins, what is refused, what the runtime is told."""

from pathlib import Path

import pytest

from pykubelet.api.core import (
    AppArmorProfile,
    Capabilities,
    Container,
    PodSecurityContext,
    SeccompProfile,
    SecurityContext,
    SELinuxOptions,
)
from pykubelet.containers.security import (
    ImageUser,
    SecurityFacts,
    container_security,
    namespaces,
    sandbox_security,
    thermal_throttle_paths,
)
from pykubelet.rpc import cri_v1

PROFILE = cri_v1.SecurityProfile


def context(make_pod, own=None, shared=None, image=ImageUser(), facts=SecurityFacts(), annotations=None):  # noqa: B008
    container = Container(name="app", securityContext=own)
    return container_security(
        make_pod(container, securityContext=shared, annotations=annotations), container, image, facts
    )


def test_nothing_said(make_pod):
    made = context(make_pod)
    assert made.HasField("run_as_user")
    assert made.run_as_user.value == 0
    assert not made.HasField("run_as_group")
    assert not made.privileged
    assert not made.no_new_privs
    assert made.seccomp.profile_type == PROFILE.Unconfined
    assert not made.HasField("apparmor")
    assert "/proc/kcore" in made.masked_paths
    assert list(made.readonly_paths) == [
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
        "/proc/sysrq-trigger",
    ]


def test_the_containers_own_fields_win(make_pod):
    made = context(
        make_pod,
        SecurityContext(
            runAsUser=5, capabilities=Capabilities(add=["NET_ADMIN"], drop=["ALL"]), privileged=True
        ),
        PodSecurityContext(runAsUser=1, runAsGroup=2, fsGroup=7, supplementalGroups=[8]),
        facts=SecurityFacts(volume_gids=(9,)),
    )
    assert (made.run_as_user.value, made.run_as_group.value) == (5, 2)
    assert list(made.supplemental_groups) == [7, 8, 9]
    assert list(made.capabilities.add_capabilities) == ["NET_ADMIN"]
    assert made.privileged


def test_the_images_user(make_pod):
    assert context(make_pod, image=ImageUser(12)).run_as_user.value == 12
    named = context(make_pod, image=ImageUser(None, "bob"))
    assert not named.HasField("run_as_user")
    assert named.run_as_username == "bob"


NON_ROOT = SecurityContext(runAsNonRoot=True)
WHERE = '(pod: "web_ns(uid-1)", container: app)'


@pytest.mark.parametrize(
    ("own", "image", "text"),
    [
        (NON_ROOT, ImageUser(), f"container has runAsNonRoot and image will run as root {WHERE}"),
        (
            NON_ROOT,
            ImageUser(None, "bob"),
            "container has runAsNonRoot and image has non-numeric user (bob), "
            f"cannot verify user is non-root {WHERE}",
        ),
        (
            SecurityContext(runAsNonRoot=True, runAsUser=0),
            ImageUser(5),
            f"container's runAsUser breaks non-root policy {WHERE}",
        ),
    ],
)
def test_non_root_is_held(make_pod, own, image, text):
    with pytest.raises(ValueError) as caught:
        context(make_pod, own, image=image)
    assert str(caught.value) == text


def test_non_root_that_holds(make_pod):
    context(make_pod, NON_ROOT, image=ImageUser(5))
    context(make_pod, SecurityContext(runAsUser=5), PodSecurityContext(runAsNonRoot=True))


@pytest.mark.parametrize(
    ("own", "shared", "default", "wanted"),
    [
        (None, None, True, (PROFILE.RuntimeDefault, "")),
        (None, SeccompProfile(type="RuntimeDefault"), False, (PROFILE.RuntimeDefault, "")),
        (
            SeccompProfile(type="Unconfined"),
            SeccompProfile(type="RuntimeDefault"),
            True,
            (PROFILE.Unconfined, ""),
        ),
        (
            SeccompProfile(type="Localhost", localhostProfile="a/b.json"),
            None,
            False,
            (PROFILE.Localhost, "/sc/a/b.json"),
        ),
    ],
)
def test_seccomp(make_pod, own, shared, default, wanted):
    made = context(
        make_pod,
        SecurityContext(seccompProfile=own),
        PodSecurityContext(seccompProfile=shared),
        facts=SecurityFacts(seccomp_default=default, seccomp_root=Path("/sc")),
    )
    assert (made.seccomp.profile_type, made.seccomp.localhost_ref) == wanted


@pytest.mark.parametrize("file", [None, "", "../x", "/etc/x"])
def test_seccomp_files_that_are_none(make_pod, file):
    with pytest.raises(ValueError, match="localhostProfile"):
        context(
            make_pod, SecurityContext(seccompProfile=SeccompProfile(type="Localhost", localhostProfile=file))
        )


def test_apparmor_field_annotation_pod(make_pod):
    key = "container.apparmor.security.beta.kubernetes.io/app"
    made = context(make_pod, annotations={key: "localhost/strict"})
    assert (made.apparmor.localhost_ref, made.apparmor_profile) == ("strict", "localhost/strict")
    field = SecurityContext(appArmorProfile=AppArmorProfile(type="Unconfined"))
    assert context(make_pod, field, annotations={key: "runtime/default"}).apparmor_profile == "unconfined"
    shared = PodSecurityContext(appArmorProfile=AppArmorProfile(type="RuntimeDefault"))
    assert context(make_pod, shared=shared).apparmor_profile == "runtime/default"


def test_selinux_labels_are_passed_on(make_pod):
    pods, own = SELinuxOptions(user="u", role="r", type="t", level="s0"), SELinuxOptions(level="s0:c1,c2")
    made = context(make_pod, shared=PodSecurityContext(seLinuxOptions=pods)).selinux_options
    assert (made.user, made.role, made.type, made.level) == ("u", "r", "t", "s0")
    # The container's replace the pod's as a whole.
    made = context(
        make_pod, SecurityContext(seLinuxOptions=own), PodSecurityContext(seLinuxOptions=pods)
    ).selinux_options
    assert (made.user, made.level) == ("", "s0:c1,c2")
    pod = make_pod(securityContext=PodSecurityContext(seLinuxOptions=pods))
    assert sandbox_security(pod, SecurityFacts()).selinux_options.type == "t"


def test_names_of_capabilities_are_the_runtimes_business(make_pod):
    stated = Capabilities(add=["CAP_NET_ADMIN", "sys_time"], drop=["ALL", "CAP_CHOWN"])
    made = context(make_pod, SecurityContext(capabilities=stated)).capabilities
    assert list(made.add_capabilities) == ["CAP_NET_ADMIN", "sys_time"]
    assert list(made.drop_capabilities) == ["ALL", "CAP_CHOWN"]


def test_proc_mount_and_escalation(make_pod):
    made = context(make_pod, SecurityContext(procMount="Unmasked", allowPrivilegeEscalation=False))
    assert not made.masked_paths
    assert not made.readonly_paths
    assert made.no_new_privs


def test_namespaces(make_pod):
    plain = namespaces(make_pod())
    assert (plain.network, plain.pid, plain.ipc) == (cri_v1.POD, cri_v1.CONTAINER, cri_v1.POD)
    host = namespaces(make_pod(hostNetwork=True, hostPID=True, hostIPC=True))
    assert (host.network, host.pid, host.ipc) == (cri_v1.NODE,) * 3
    assert namespaces(make_pod(shareProcessNamespace=True)).pid == cri_v1.POD
    assert namespaces(make_pod(), (65536, 65536)).userns_options.uids[0].host_id == 65536


def test_an_ephemeral_container_joins_its_target(make_pod):
    scope = context(make_pod, facts=SecurityFacts(target_id="abc")).namespace_options
    assert (scope.pid, scope.target_id) == (cri_v1.TARGET, "abc")


def test_a_sandbox_is_as_privileged_as_its_containers(make_pod):
    pod = make_pod(Container(name="a", securityContext=SecurityContext(privileged=True)))
    made = sandbox_security(pod, SecurityFacts())
    assert made.privileged
    assert made.seccomp.profile_type == PROFILE.RuntimeDefault
    strict = make_pod(
        securityContext=PodSecurityContext(runAsUser=0, supplementalGroupsPolicy="Strict", fsGroup=3)
    )
    made = sandbox_security(strict, SecurityFacts(volume_gids=(4,)))
    assert made.HasField("run_as_user")
    assert made.supplemental_groups_policy == cri_v1.Strict
    assert list(made.supplemental_groups) == [3, 4]
    bad = make_pod(securityContext=PodSecurityContext(supplementalGroupsPolicy="Odd"))
    with pytest.raises(ValueError, match="unsupported supplementalGroupsPolicy: Odd"):
        sandbox_security(bad, SecurityFacts())


def test_thermal_paths_in_order(tmp_path):
    for name in ("cpu10", "cpu2", "cpufreq"):
        (tmp_path / name / "thermal_throttle").mkdir(parents=True)
    assert [Path(p).parent.name for p in thermal_throttle_paths(tmp_path)] == ["cpu2", "cpu10"]
