"""What a security context does to a container, seen from inside it, and what a node refuses."""

import asyncio
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from tests.integration.killed_node import FOREVER, container
from tests.integration.node import pod, running_node

from pykubelet.cli.up.images import busybox_image
from pykubelet.cli.up.oci import File, pack

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: An image of the user ``svc`` by name, and the same by number; the user is in a group of the image.
NAMED, NUMBERED = "pykubelet.local/named:v1", "pykubelet.local/numbered:v1"
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nsvc:x:1500:1501:svc:/:/bin/sh\nother:x:1700:1701::/:/bin/sh\n"
GROUP = b"root:x:0:\nsvc:x:1501:\nextra:x:1600:svc,other\n"
NET_BIND_SERVICE, NET_ADMIN, CHOWN = 1 << 10, 1 << 12, 1 << 0


def images():
    """Both images, packed, by name."""
    binary = Path(shutil.which("busybox"))
    listed = subprocess.run([binary, "--list"], check=True, capture_output=True, text=True, timeout=10)
    plain = busybox_image(binary.read_bytes(), listed.stdout.split())
    entries = {**plain.entries, "etc/passwd": File(PASSWD), "etc/group": File(GROUP)}
    return {
        name: pack(replace(plain, name=name, user=user, entries=entries))
        for name, user in ((NAMED, "svc"), (NUMBERED, "1500"))
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(containerd, tmp_path_factory):
    # Root in a user namespace is nobody on the node: it must be able to walk to its root file system.
    containerd.base_dir.parent.chmod(0o711)
    for name, archive in images().items():
        await asyncio.to_thread(containerd.import_image, archive, name)
    config = {"seccompDefault": True, "allowedUnsafeSysctls": ["net.core.somaxconn", "kernel.msg*"]}
    async with running_node(tmp_path_factory.mktemp("security"), containerd, **config) as made:
        # What the runtime can do is asked for below.
        await made.until(lambda: made.kubelet.runtime.health.status)
        yield made


def secured(name="app", script=FOREVER, image="", **fields):
    """A container with a security context of *fields*."""
    made = container(name, script, securityContext=fields)
    return {**made, "image": image} if image else made


async def process(node, name, app="app"):
    """What the kernel says of the container's first process, by the names in ``/proc/1/status``."""
    text = await node.exec(name, "cat /proc/1/status", app)
    return {key: value.split() for key, _, value in (line.partition(":") for line in text.splitlines())}


async def test_users_groups_and_rights(node):
    shared = {"runAsUser": 1000, "runAsGroup": 2000, "supplementalGroups": [3000], "fsGroup": 4000}
    quits = "trap 'exit 0' TERM; while [ ! -e /dev/shm/quit ]; do sleep 0.05; done; rm /dev/shm/quit"
    node.apply(
        pod(
            "whole",
            secured(
                script=quits,
                capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
                allowPrivilegeEscalation=False,
                readOnlyRootFilesystem=True,
            ),
            secured(
                "root", runAsUser=0, runAsGroup=0, capabilities={"add": ["NET_ADMIN"], "drop": ["CHOWN"]}
            ),
            secured("every", runAsUser=0, capabilities={"add": ["ALL"]}),
            securityContext=shared,
        ),
        pod("privileged", secured(privileged=True)),
        pod("named", secured(image=NAMED), securityContext={"fsGroup": 4000}),
        pod("numbered", secured(image=NUMBERED, runAsNonRoot=True)),
        pod("other", secured(image=NAMED, runAsUser=1700)),
    )
    names = ("whole", "privileged", "named", "numbered", "other")
    await node.until(lambda: node.ready(*names))
    own = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    everything = own["CapBnd"].strip()

    first = await process(node, "whole")
    assert (first["Uid"], first["Gid"]) == (["1000"] * 4, ["2000"] * 4)
    # The first process of a user other than root has what its file gives it: nothing.
    assert (int(first["CapBnd"][0], 16), int(first["CapEff"][0], 16)) == (NET_BIND_SERVICE, 0)
    assert (first["Groups"], first["NoNewPrivs"]) == (["2000", "3000", "4000"], ["1"])
    assert "Read-only file system" in await node.exec("whole", "touch /x 2>&1; true")
    root = await process(node, "whole", "root")
    assert (root["Uid"][0], root["Gid"][0], root["NoNewPrivs"]) == ("0", "0", ["0"])
    assert int(root["CapEff"][0], 16) & (NET_ADMIN | CHOWN) == NET_ADMIN
    await node.exec("whole", "touch /x", "root")
    every = await process(node, "whole", "every")
    assert (every["Uid"][0], every["Gid"][0], every["CapEff"]) == ("0", "2000", [everything])
    assert every["Seccomp"] == ["2"]
    privileged = await process(node, "privileged")
    assert (privileged["CapEff"], privileged["Seccomp"]) == ([everything], ["0"])

    # By name or by number, the image's own groups are there too (the policy Merge).
    assert (await process(node, "named"))["Groups"] == ["1501", "1600", "4000"]
    assert (await process(node, "numbered"))["Uid"] == ["1500"] * 4
    assert (await process(node, "other"))["Groups"] == ["1600", "1701"]

    # Started again, with its image on the node, it is whom it was.
    await node.exec("whole", "touch /dev/shm/quit")
    await node.until(lambda: node.restarts("whole") == 1 and node.runs("whole"))
    again = await process(node, "whole")
    same = ("Uid", "Gid", "Groups", "CapBnd", "CapEff", "NoNewPrivs", "Seccomp")
    assert {key: again[key] for key in same} == {key: first[key] for key in same}
    await node.delete(*names)


async def test_a_user_that_must_not_be_root(node):
    strict = {"runAsNonRoot": True}
    node.apply(
        pod("by-name", secured(image=NAMED, **strict)),
        pod("by-image", secured(), securityContext=strict),
        pod("by-spec", secured(runAsUser=0), securityContext=strict),
        pod("allowed", secured(runAsNonRoot=False), securityContext=strict),
    )

    def where(name):
        return f'(pod: "{node.full(name)}_default({node.uid(name)})", container: app)'

    texts = {
        "by-name": "container has runAsNonRoot and image has non-numeric user (svc), "
        "cannot verify user is non-root",
        "by-image": "container has runAsNonRoot and image will run as root",
        "by-spec": "container's runAsUser breaks non-root policy",
    }
    for name, text in texts.items():
        await node.until(lambda name=name: (w := node.waiting(name)) and w.message)
        waiting = node.waiting(name)
        assert (waiting.reason, waiting.message) == ("CreateContainerConfigError", f"{text} {where(name)}")
        assert f"Error: {text} {where(name)}" in [event.text for event in node.events(name, "Failed")]
    await node.until(lambda: node.ready("allowed"))
    await node.delete("allowed", *texts)


async def test_what_of_proc_and_sys_is_hidden(node):
    node.apply(pod("masked", secured()), pod("open", secured(privileged=True)))
    await node.until(lambda: node.ready("masked", "open"))

    async def mounts(name):
        lines = (await node.exec(name, "cat /proc/mounts")).splitlines()
        return {line.split()[1]: line.split()[3].split(",") for line in lines}

    masked, free = await mounts("masked"), await mounts("open")
    for path in ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"):
        assert "ro" in masked[path], path
        assert path not in free
    for path in ("/proc/acpi", "/proc/interrupts", "/proc/keys", "/proc/timer_list", "/sys/firmware"):
        if Path(path).exists():
            assert path in masked
            assert path not in free
    assert await node.exec("masked", "cat /proc/interrupts; ls /sys/firmware") == ""
    assert await node.exec("open", "cat /proc/interrupts") != ""
    assert "Read-only" in await node.exec("masked", "echo 1 2>&1 > /proc/sys/net/ipv4/ip_forward; true")
    await node.exec("open", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    await node.delete("masked", "open")


def refusals(node, file):
    """What was said of the manifest in that file."""
    entries = node.kubelet.ground.journal.of_node()
    return [entry.text for entry in entries if entry.what == "ManifestRejected" and file in entry.text]


async def test_seccomp_profiles(node):
    profiles = node.layout.seccomp / "own"
    profiles.mkdir(parents=True)
    no_mkdir = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    (profiles / "no-mkdir.json").write_text(json.dumps(no_mkdir))

    def profile(kind, file=None):
        return {"seccompProfile": {"type": kind, **({"localhostProfile": file} if file is not None else {})}}

    node.apply(
        pod(
            "filtered",
            # The node's seccompDefault holds for whoever states nothing.
            container("app"),
            secured("none", **profile("Unconfined")),
            secured("runtime", **profile("RuntimeDefault")),
            secured("local", **profile("Localhost", "own/no-mkdir.json")),
        ),
        pod(
            "filtered-pod",
            secured(privileged=False),
            secured("none", **profile("Unconfined")),
            securityContext=profile("Localhost", "own/no-mkdir.json"),
        ),
        pod("missing", secured(**profile("Localhost", "own/none.json"))),
        pod("empty", secured(**profile("Localhost", ""))),
        pod("outside", secured(**profile("Localhost", "../x"))),
        pod("absolute", secured(**profile("Localhost", "/x"))),
    )
    await node.until(lambda: node.ready("filtered", "filtered-pod"))
    modes = {app: (await process(node, "filtered", app))["Seccomp"] for app in ("app", "none", "runtime")}
    assert modes == {"app": ["2"], "none": ["0"], "runtime": ["2"]}
    for name, app in (("filtered", "local"), ("filtered-pod", "app")):
        said = await node.exec(name, "mkdir /tmp/x 2>&1; true", app)
        assert "Operation not permitted" in said, said
    await node.exec("filtered-pod", "mkdir /tmp/x", "none")
    waiting = await node.until(lambda: (w := node.waiting("missing")) and w.message and w)
    assert waiting.reason == "CreateContainerError"
    assert f"{profiles}/none.json" in waiting.message
    waiting = await node.until(lambda: (w := node.waiting("empty")) and w.message and w)
    assert waiting.reason == "CreateContainerConfigError"
    assert waiting.message == "localhostProfile must be set if seccompProfile type is Localhost."
    for name in ("outside", "absolute"):
        [refused] = await node.until(lambda name=name: refusals(node, f"{name}.yaml"))
        assert "spec.containers[0].securityContext.seccompProfile.localhostProfile" in refused
    node.remove("outside", "absolute")
    await node.delete("filtered", "filtered-pod", "missing", "empty")


async def test_sysctls(node):
    forward = {"name": "net.ipv4.ip_forward", "value": "1"}
    node.apply(
        pod(
            "tuned",
            container("app"),
            securityContext={
                "sysctls": [
                    {"name": "net.ipv4.ip_local_port_range", "value": "40000 50000"},
                    {"name": "net/ipv4/ping_group_range", "value": "0 7"},
                    {"name": "kernel.shm_rmid_forced", "value": "1"},
                    {"name": "net.core.somaxconn", "value": "321"},
                    {"name": "kernel.msgmax", "value": "9000"},
                ]
            },
        ),
        pod("unsafe", container("app"), securityContext={"sysctls": [forward]}),
    )
    await node.until(lambda: node.ready("tuned"))
    paths = "net/ipv4/ip_local_port_range net/ipv4/ping_group_range kernel/shm_rmid_forced"
    paths = f"{paths} net/core/somaxconn kernel/msgmax"
    said = await node.exec("tuned", f"cd /proc/sys; cat {paths}")
    assert [line.split() for line in said.splitlines()] == [
        ["40000", "50000"],
        ["0", "7"],
        ["1"],
        ["321"],
        ["9000"],
    ]
    await node.until(lambda: node.phase("unsafe") == "Failed")
    status = node.status("unsafe")
    assert status.reason == "SysctlForbidden"
    assert status.message == 'Pod was rejected: forbidden sysctl: "net.ipv4.ip_forward" not allowlisted'
    assert node.events("unsafe", "SysctlForbidden")
    await node.delete("tuned", "unsafe")


async def test_what_this_node_cannot_do_is_refused_in_upstreams_words(node):
    apparmor = {"appArmorProfile": {"type": "RuntimeDefault"}}
    node.apply(
        pod("apart", container("app"), hostUsers=False),
        pod("strict", container("app"), securityContext={"supplementalGroupsPolicy": "Strict"}),
        pod("confined", secured(**apparmor)),
        pod("windows", container("app"), os={"name": "windows"}),
        pod("labelled", container("app"), securityContext={"seLinuxOptions": {"level": "s0:c1,c2"}}),
    )
    if not node.kubelet.ground.host.apparmor:
        await node.until(lambda: node.phase("confined") == "Failed")
        status = node.status("confined")
        text = "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host"
        assert (status.reason, status.message) == ("AppArmor", text)
    handler = node.kubelet.node.info.runtime_handler("")
    if handler is None or not handler.user_namespaces:
        [event] = (await node.until(lambda: node.events("apart", "FailedCreatePodSandBox")))[:1]
        text = "can't set `spec.hostUsers: false`, runtime does not support user namespaces"
        assert event.text == f"Failed to create pod sandbox: {text}"
        assert not node.layout.pod_user_namespace(node.uid("apart")).exists()
    if not node.kubelet.node.info.supplemental_groups_policy:
        await node.until(lambda: node.phase("strict") == "Failed")
        status = node.status("strict")
        text = "Pod was rejected: SupplementalGroupsPolicy=Strict is not supported in this node"
        assert (status.reason, status.message) == ("SupplementalGroupsPolicyNotSupported", text)
    await node.until(lambda: node.phase("windows") == "Failed")
    assert node.status("windows").reason == "PodOSNotSupported"
    # Where SELinux is off the runtime leaves its labels aside.
    await node.until(lambda: node.ready("labelled"))
    await node.delete("apart", "strict", "confined", "windows", "labelled")


async def test_groups_of_the_image_can_be_left_out(node):
    if not node.kubelet.node.info.supplemental_groups_policy:
        pytest.skip("this runtime does not know supplementalGroupsPolicy")

    def groups(policy):
        return {"securityContext": {"supplementalGroups": [3000], "supplementalGroupsPolicy": policy}}

    names = ("strict", "merge")
    node.apply(
        pod("strict", secured(image=NAMED), **groups("Strict")),
        pod("merge", secured(image=NAMED), **groups("Merge")),
    )
    await node.until(lambda: node.ready(*names))
    seen = {name: (await process(node, name))["Groups"] for name in names}
    assert seen == {"strict": ["1501", "3000"], "merge": ["1501", "1600", "3000"]}
    for name in names:
        user = node.container(name).user.linux
        assert (user.uid, user.gid) == (1500, 1501)
        assert sorted(user.supplementalGroups) == sorted(map(int, seen[name]))
    await node.delete(*names)


async def test_a_user_namespace_of_ones_own(node):
    handler = node.kubelet.node.info.runtime_handler("")
    if handler is None or not handler.user_namespaces:
        pytest.skip("this runtime has no user namespaces")
    disk = {"volumeMounts": [{"name": "disk", "mountPath": "/disk"}]}
    quits = "trap 'exit 0' TERM; while [ ! -e /disk/quit ]; do sleep 0.05; done; rm /disk/quit"
    node.apply(
        pod(
            "apart",
            container("app", quits, **disk),
            secured("open", procMount="Unmasked"),
            hostUsers=False,
            volumes=[{"name": "disk", "emptyDir": {}}],
        ),
        pod("beside", secured(runAsUser=1000), hostUsers=False),
        pod("shared", secured(), hostUsers=True),
    )
    names = ("apart", "beside", "shared")
    await node.until(lambda: node.ready(*names))

    async def ids(name, app="app"):
        """First host ID and number of IDs of users and of groups."""
        lines = (await node.exec(name, "cat /proc/self/uid_map /proc/self/gid_map", app)).splitlines()
        return [tuple(map(int, line.split())) for line in lines]

    async def uids():
        return {name: (await ids(name))[0] for name in names}

    first = await uids()
    assert first["shared"][:2] == (0, 0)
    for name in ("apart", "beside"):
        inside, host, length = first[name]
        assert (inside, length) == (0, 65536)
        assert host >= 65536
        assert await ids(name) == [first[name]] * 2
        stated = json.loads(node.layout.pod_user_namespace(node.uid(name)).read_text())
        one = {"hostId": host, "containerId": 0, "length": 65536}
        assert stated == {"uidMappings": [one], "gidMappings": [one]}
    assert first["apart"] != first["beside"]
    assert await ids("apart", "open") == [first["apart"]] * 2
    # On the node's disk the files of the pod's root are root's: the mount translates.
    await node.exec("apart", "touch /disk/file")
    place = node.layout.pod_volume(node.uid("apart"), "kubernetes.io/empty-dir", "disk")
    assert (place / "file").stat().st_uid == 0
    assert "/proc/sys" not in await node.exec("apart", "cut -d' ' -f2 /proc/mounts", "open")
    # The next instance, and the next daemon, keep the IDs.
    await node.restart()
    await node.until(lambda: node.ready(*names))
    await node.exec("apart", "touch /disk/quit")
    await node.until(lambda: node.restarts("apart") == 1 and node.runs("apart"))
    assert await uids() == first
    files = [node.layout.pod_user_namespace(node.uid(name)) for name in ("apart", "beside")]
    await node.delete(*names)
    await node.until(lambda: not [file for file in files if file.exists()])
    assert node.kubelet.node.user_namespaces.pods == frozenset()
