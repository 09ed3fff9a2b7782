"""A pod's sandbox and containers made and ended on the runtime in memory."""

import asyncio
import inspect
import stat
from dataclasses import replace

import pytest

from pykubelet.api.core import (
    Capabilities,
    ConfigMapEnvSource,
    Container,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    EphemeralContainer,
    ExecAction,
    Lifecycle,
    LifecycleHandler,
    PodSecurityContext,
    SecurityContext,
    SleepAction,
    TCPSocketAction,
)
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volumes import ObjectFieldSelector, VolumeMount
from pykubelet.base.clock import LoopClock
from pykubelet.base.errors import SandboxError, StartError
from pykubelet.base.tasks import TaskOwner
from pykubelet.containers import ContainerSettings, Starter
from pykubelet.containers.security import ImageUser
from pykubelet.cri.errors import Code, CriError
from pykubelet.cri.memory import MemoryRuntime
from pykubelet.cri.memory_faults import Fault
from pykubelet.cri.memory_world import ExecAnswer, Script
from pykubelet.cri.types import ContainerState, ExecResult, RuntimeHandler
from pykubelet.observe.types import ObservedPod
from pykubelet.pods.doors import ContainerStarter
from pykubelet.rpc import cri_v1

pytestmark = pytest.mark.looptime(start=0)


@pytest.fixture
def runtime():
    made = MemoryRuntime(LoopClock())
    made.world.add_image("img")
    return made


@pytest.fixture
def starter_of(layout, told, volumes, node):
    """Makes one for a runtime, with more than the usual doors."""
    settings = ContainerSettings(cluster_domain="cluster.local", resolv_conf="")

    def make(runtime, **more):
        parent = "/kubepods/pod1"
        return Starter(
            runtime, layout, LoopClock(), told, told, settings, volumes, node, lambda pod: parent, **more
        )

    return make


@pytest.fixture
def starter(starter_of, runtime):
    return starter_of(runtime)


def app(**more):
    more.setdefault("imagePullPolicy", "IfNotPresent")
    more.setdefault("terminationMessagePath", "/dev/termination-log")
    return Container(name="app", image="img", **more)


async def observe(runtime, ips=("10.1.1.1",)):
    sandboxes = [await runtime.sandbox_status(s.id) for s in await runtime.list_sandboxes()]
    containers = [await runtime.container_status(c.id) for c in await runtime.list_containers()]
    return ObservedPod("uid-1", ips=ips, sandboxes=tuple(sandboxes), containers=tuple(containers))


async def begin(starter, runtime, pod, container=None, kind="regular"):
    await starter.prepare_pod(pod)
    sandbox = await starter.create_sandbox(pod, 0)
    container = container or pod.spec.containers[0]
    return await starter.start_container(pod, container, kind, sandbox, await observe(runtime))


def test_it_fits_the_door():
    for name, method in inspect.getmembers(ContainerStarter, inspect.isfunction):
        if name.startswith("_"):
            continue
        ours = inspect.signature(getattr(Starter, name))
        assert list(ours.parameters) == list(inspect.signature(method).parameters), name


async def test_a_container_starts(starter, runtime, told, make_pod, layout):
    pod = make_pod(app(command=["$(X)"], args=["$(Y)"], env=[]), labels={"l": "1"}, annotations={"a": "b"})
    container_id = await begin(starter, runtime, pod)
    box = runtime.world.containers[container_id]
    assert box.state is ContainerState.RUNNING
    assert told.reasons == ["Pulled", "Created", "Started"]
    assert {event[3] for event in told.events} == {"spec.containers{app}"}
    assert box.config.log_path == "app/0.log"
    assert dict(box.config.labels) == {
        "io.kubernetes.container.name": "app",
        "io.kubernetes.pod.name": "web",
        "io.kubernetes.pod.namespace": "ns",
        "io.kubernetes.pod.uid": "uid-1",
    }
    assert box.config.annotations["io.kubernetes.container.restartCount"] == "0"
    assert box.config.image.user_specified_image == "img"
    mounts = {mount.container_path: mount.host_path for mount in box.config.mounts}
    assert mounts["/etc/hosts"] == str(layout.pod_etc_hosts("uid-1"))
    assert "10.1.1.1\tweb\n" in layout.pod_etc_hosts("uid-1").read_text()
    sandbox = box.sandbox.config
    assert sandbox.linux.cgroup_parent == "/kubepods/pod1"
    assert (sandbox.labels["l"], sandbox.annotations["a"], sandbox.hostname) == ("1", "b", "web")


async def test_restart_counts_go_on(starter, runtime, make_pod, layout):
    pod = make_pod(app())
    logs = layout.container_log("ns", "web", "uid-1", "app", 4)
    logs.parent.mkdir(parents=True)
    logs.touch()
    first = await begin(starter, runtime, pod)
    assert runtime.world.containers[first].config.metadata.attempt == 5
    runtime.end_container(first, 1)
    observed = await observe(runtime)
    again = await starter.start_container(
        pod, pod.spec.containers[0], "regular", observed.sandboxes[0].id, observed
    )
    assert runtime.world.containers[again].config.metadata.attempt == 6


@pytest.mark.parametrize(
    ("container", "fault", "reason", "message"),
    [
        (app(), Fault("CreateContainer", Code.Unknown, "no"), "CreateContainerError", "no"),
        (app(), Fault("StartContainer", Code.Unknown, "exec: x"), "RunContainerError", "exec: x"),
        (
            app(envFrom=[EnvFromSource(configMapRef=ConfigMapEnvSource(name="cm"))]),
            None,
            "CreateContainerConfigError",
            "couldn't get configMap ns/cm, no kubeClient defined",
        ),
        (
            app(volumeMounts=[VolumeMount(name="v", mountPath="/v")]),
            None,
            "CreateContainerConfigError",
            'cannot find volume "v" to mount into container "app"',
        ),
    ],
)
async def test_what_fails_is_told(starter, runtime, told, make_pod, container, fault, reason, message):
    if fault is not None:
        runtime.inject(fault)
    with pytest.raises(StartError) as caught:
        await begin(starter, runtime, make_pod(container))
    assert (caught.value.reason, caught.value.message) == (reason, message)
    assert told.events[-1] == ("Warning", "Failed", f"Error: {message}", "spec.containers{app}")


async def test_what_is_refused_leaves_no_file(starter, runtime, make_pod, layout):
    refused = app(securityContext=SecurityContext(runAsNonRoot=True, runAsUser=0))
    with pytest.raises(StartError) as caught:
        await begin(starter, runtime, make_pod(refused))
    assert caught.value.reason == "CreateContainerConfigError"
    assert not layout.pod_containers("uid-1").exists()


async def test_termination_messages_lie_where_only_their_containers_reach(starter, runtime, make_pod, layout):
    await begin(starter, runtime, make_pod(app()))
    top = layout.pod_containers("uid-1")
    (message,) = (top / "app").iterdir()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (top, top / "app", message)] == [
        0o750, 0o750, 0o666,
    ]  # fmt: skip


async def test_volumes_and_their_sub_paths(starter, runtime, volumes, make_pod):
    volumes.there["v"] = MountedVolume("v", "/host/v", read_only=True)
    mounts = [VolumeMount(name="v", mountPath="v"), VolumeMount(name="v", mountPath="/w", subPath="a")]
    container_id = await begin(starter, runtime, make_pod(app(volumeMounts=mounts)))
    made = runtime.world.containers[container_id].config.mounts
    assert [(m.host_path, m.container_path, m.readonly) for m in made[:2]] == [
        ("/host/v", "/v", True),
        ("/host/v/a", "/w", True),
    ]


SECURITY = [
    (SecurityContext(runAsUser=7, runAsGroup=8), {}),
    (SecurityContext(capabilities=Capabilities(drop=["ALL"]), allowPrivilegeEscalation=False), {}),
    (None, {"securityContext": PodSecurityContext(runAsUser=5, fsGroup=6, supplementalGroups=[9])}),
    (None, {}),
]


@pytest.mark.parametrize(("own", "spec"), SECURITY)
@pytest.mark.parametrize("user", [ImageUser(4321), ImageUser(None, "bob"), ImageUser()])
async def test_every_start_has_the_same_security(starter, runtime, make_pod, own, spec, user):
    """The first start (the image is pulled), a restart, one with the image on the node (CVE-2019-11245)."""
    runtime.world.add_image("img", uid=user.uid, username=user.name)
    made, sandbox = [], ""
    for policy in ("Always", "IfNotPresent", "Never"):
        pod = make_pod(app(securityContext=own, imagePullPolicy=policy), **spec)
        await starter.prepare_pod(pod)
        sandbox = sandbox or await starter.create_sandbox(pod, 0)
        observed = await observe(runtime)
        observed = replace(observed, containers=observed.containers[::-1])
        container_id = await starter.start_container(
            pod, pod.spec.containers[0], "regular", sandbox, observed
        )
        made.append(runtime.world.containers[container_id].config.linux.security_context)
        runtime.end_container(container_id, 1)
    assert made[0] == made[1] == made[2]
    wanted = own.runAsUser if own and own.runAsUser else 5 if spec else user.uid
    assert (made[0].run_as_user.value if made[0].HasField("run_as_user") else None) == wanted
    assert made[0].run_as_username == ("bob" if wanted is None else "")


async def test_on_the_hosts_network_the_pods_ip_is_the_nodes(starter, runtime, make_pod, node):
    own = EnvVar(name="IP", valueFrom=EnvVarSource(fieldRef=ObjectFieldSelector(fieldPath="status.podIP")))
    container_id = await begin(starter, runtime, make_pod(app(env=[own]), hostNetwork=True))
    made = {env.key: env.value for env in runtime.world.containers[container_id].config.envs}
    assert made["IP"] == node.host_ips[0].encode()


async def test_both_ips_of_a_pod_in_the_nodes_order(starter, runtime, make_pod, node, layout):
    node.host_ips = ("2001:db8::1", "192.0.2.1")
    ips = [
        EnvVar(name=name, valueFrom=EnvVarSource(fieldRef=ObjectFieldSelector(fieldPath=f"status.{name}")))
        for name in ("podIP", "podIPs", "hostIP", "hostIPs")
    ]
    pod = make_pod(app(env=ips))
    await starter.prepare_pod(pod)
    sandbox = await starter.create_sandbox(pod, 0)
    observed = await observe(runtime, ips=("10.1.1.1", "FD00:0::7"))
    container_id = await starter.start_container(pod, pod.spec.containers[0], "regular", sandbox, observed)
    made = {env.key: env.value.decode() for env in runtime.world.containers[container_id].config.envs}
    assert made == {
        "podIP": "fd00::7",
        "podIPs": "fd00::7,10.1.1.1",
        "hostIP": "2001:db8::1",
        "hostIPs": "2001:db8::1,192.0.2.1",
    }
    assert "10.1.1.1\tweb\nFD00:0::7\tweb\n" in layout.pod_etc_hosts("uid-1").read_text()


async def test_an_absent_image(starter, runtime, told, make_pod):
    with pytest.raises(StartError) as caught:
        await begin(starter, runtime, make_pod(Container(name="app", image="other", imagePullPolicy="Never")))
    assert caught.value.reason == "ErrImageNeverPull"
    assert told.events[-1][2] == "Error: ErrImageNeverPull"


async def test_no_such_runtime_class(starter, make_pod):
    with pytest.raises(SandboxError, match=r'runtimeclass\.node\.k8s\.io "gvisor" not found'):
        await starter.create_sandbox(make_pod(runtimeClassName="gvisor"), 0)


async def test_user_namespaces_need_the_runtime(starter, make_pod, node):
    with pytest.raises(SandboxError, match="runtime does not support user namespaces"):
        await starter.create_sandbox(make_pod(hostUsers=False), 0)
    node.handlers[""] = RuntimeHandler("", user_namespaces=True)
    with pytest.raises(SandboxError, match="no ID ranges"):
        await starter.create_sandbox(make_pod(hostUsers=False), 0)


async def test_a_handler_that_the_runtime_does_not_tell_of(starter_of, runtime, node, make_pod):
    class Classes:
        def handler(self, name):
            return name or ""

    starter = starter_of(runtime, runtime_classes=Classes())
    node.handlers[""] = RuntimeHandler("", user_namespaces=True)
    with pytest.raises(SandboxError) as caught:
        await starter.create_sandbox(make_pod(hostUsers=False, runtimeClassName="odd"), 0)
    assert str(caught.value) == (
        'can\'t set `spec.hostUsers: false`, RuntimeClass handler "odd" does not support user namespaces: '
        'the handler "odd" is not known'
    )


async def test_a_user_namespace_reaches_sandbox_container_and_mounts(starter_of, runtime, node, make_pod):
    class Ranges:
        async def mapping(self, pod):
            return 131072, 65536

    starter = starter_of(runtime, user_namespaces=Ranges())
    node.handlers[""] = RuntimeHandler("", user_namespaces=True)
    unmasked = SecurityContext(procMount="Unmasked")
    container_id = await begin(starter, runtime, make_pod(app(securityContext=unmasked), hostUsers=False))
    box = runtime.world.containers[container_id]
    context = box.config.linux.security_context
    for scope in (box.sandbox.config.linux.security_context.namespace_options, context.namespace_options):
        users = scope.userns_options
        assert users.mode == cri_v1.POD
        for (mapping,) in (users.uids, users.gids):
            assert (mapping.container_id, mapping.host_id, mapping.length) == (0, 131072, 65536)
    assert box.config.mounts
    for mount in box.config.mounts:
        assert mount.uidMappings[0].host_id == mount.gidMappings[0].host_id == 131072
    assert (list(context.masked_paths), list(context.readonly_paths)) == ([], [])


async def test_a_sandbox_that_fails(starter, runtime, make_pod):
    runtime.inject(Fault("RunPodSandbox", Code.Unknown, "cni"))
    with pytest.raises(SandboxError, match="rpc error: code = Unknown desc = cni"):
        await starter.create_sandbox(make_pod(), 0)


def hook(**kinds):
    return LifecycleHandler(**kinds)


async def test_a_failed_post_start_ends_the_container(starter_of, told, node, make_pod):
    script = Script(exec=lambda command: ExecAnswer(ExecResult(b"out", b"err", 3)))
    runtime = MemoryRuntime(LoopClock(), scripts=lambda sandbox, config: script)
    runtime.world.add_image("img")
    starter = starter_of(runtime)
    lifecycle = Lifecycle(postStart=hook(exec=ExecAction(command=["a", "b"])))
    with pytest.raises(StartError) as caught:
        await begin(starter, runtime, make_pod(app(lifecycle=lifecycle)))
    assert caught.value.reason == "PostStartHookError"
    assert caught.value.message == (
        'Exec lifecycle hook ([a b]) for Container "app" in Pod "web_ns(uid-1)" failed - error: '
        "command 'a b' exited with 3: err, message: \"outerr\""
    )
    assert told.reasons[-2:] == ["FailedPostStartHook", "Killing"]
    (box,) = runtime.world.containers.values()
    assert box.state is ContainerState.EXITED


async def test_pre_stop(starter, runtime, told, make_pod):
    pod = make_pod(app(lifecycle=Lifecycle(preStop=hook(sleep=SleepAction(seconds=60)))))
    container_id = await begin(starter, runtime, pod)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await starter.pre_stop(pod, pod.spec.containers[0], container_id, (), 5)
    assert loop.time() - began == pytest.approx(5)
    bad = app(lifecycle=Lifecycle(preStop=hook(tcpSocket=TCPSocketAction(port=1))))
    await starter.pre_stop(make_pod(bad), bad, container_id, (), 5)
    assert told.reasons[-1] == "FailedPreStopHook"


async def test_removing_takes_logs_links_and_messages(starter, runtime, make_pod, layout):
    pod = make_pod(app())
    container_id = await begin(starter, runtime, pod)
    log = layout.container_log("ns", "web", "uid-1", "app", 0)
    for name in ("0.log", "0.log.20200101-000000.gz", "01.log"):
        (log.parent / name).touch()
    link = layout.container_log_link("web", "ns", "app", container_id)
    link.parent.mkdir()
    link.symlink_to(log)
    runtime.end_container(container_id)
    status = await runtime.container_status(container_id)
    assert list((layout.pod_containers("uid-1") / "app").iterdir())
    await starter.remove_container(status)
    assert [path.name for path in log.parent.iterdir()] == ["01.log"]
    assert not link.is_symlink()
    assert not runtime.world.containers
    assert not list((layout.pod_containers("uid-1") / "app").iterdir())
    await starter.clean_pod("uid-1", "ns", "web")
    assert not list(layout.pod_logs.iterdir())
    assert not layout.pod_containers("uid-1").exists()


async def test_several_may_want_the_same_container_removed(starter, runtime, make_pod, monkeypatch):
    """Containerd refuses a removal while another one of the same container is under way."""
    container_id = await begin(starter, runtime, make_pod(app()))
    runtime.end_container(container_id)
    status, remove = await runtime.container_status(container_id), runtime.remove_container
    under_way: set[str] = set()

    async def slowly(container_id, **options):
        if container_id in under_way:
            raise CriError(Code.Unknown, "RemoveContainer", "container is already in removing state")
        under_way.add(container_id)
        await asyncio.sleep(1)
        await remove(container_id, **options)
        under_way.remove(container_id)

    monkeypatch.setattr(runtime, "remove_container", slowly)
    await asyncio.gather(*(starter.remove_container(status) for _ in range(3)))
    assert not runtime.world.containers


async def test_an_ephemeral_container_and_its_target(starter, runtime, make_pod):
    debug = EphemeralContainer(name="d", image="img", imagePullPolicy="Never", targetContainerName="app")
    pod = make_pod(app(), ephemeralContainers=[debug])
    with pytest.raises(StartError, match="unable to find target container app"):
        await begin(starter, runtime, pod, debug, "ephemeral")
    observed = await observe(runtime)
    sandbox = observed.sandboxes[0].id
    target = await starter.start_container(pod, pod.spec.containers[0], "regular", sandbox, observed)
    observed = await observe(runtime)
    made = await starter.start_container(pod, debug, "ephemeral", observed.sandboxes[0].id, observed)
    options = runtime.world.containers[made].config.linux.security_context.namespace_options
    assert options.target_id == target


async def test_a_resolver_file_that_is_not_there(runtime, layout, told, volumes, node, tmp_path, make_pod):
    settings = ContainerSettings(resolv_conf=str(tmp_path / "none"))
    starter = Starter(runtime, layout, LoopClock(), told, told, settings, volumes, node, lambda pod: "")
    await starter.check_resolver()
    assert told.events[0][1] == "CheckLimitsForResolvConf"
    with pytest.raises(SandboxError, match=r"open .*/none: no such file or directory"):
        await starter.create_sandbox(make_pod(), 0)


@pytest.mark.parametrize("method", ["PullImage", "CreateContainer", "StartContainer", "ExecSync"])
async def test_what_was_cut_off_is_found_again(starter, runtime, make_pod, method):
    hooked = app(
        imagePullPolicy="Always", lifecycle=Lifecycle(postStart=hook(exec=ExecAction(command=["x"])))
    )
    pod = make_pod(hooked)
    runtime.inject(Fault(method, hang=True))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await begin(starter, runtime, pod)
    observed = await observe(runtime)
    assert all(found.labels["io.kubernetes.pod.uid"] == "uid-1" for found in observed.containers)
    again = await starter.start_container(pod, hooked, "regular", observed.sandboxes[0].id, observed)
    assert runtime.world.containers[again].config.metadata.attempt == len(observed.containers)


async def test_a_start_that_the_runtime_was_asked_for_is_not_cut_short(
    starter, runtime, told, make_pod, monkeypatch
):
    go_on, really = asyncio.Event(), runtime.start_container

    async def slow(container_id, *, turn):
        await go_on.wait()
        await really(container_id, turn=turn)

    monkeypatch.setattr(runtime, "start_container", slow)
    owner = TaskOwner("test")
    begun = owner.spawn("begin", begin(starter, runtime, make_pod()))
    while not any(event[1] == "Created" for event in told.events):
        await asyncio.sleep(0.01)
    begun.cancel()
    await asyncio.sleep(0.05)
    assert not begun.done()
    go_on.set()
    await asyncio.wait([begun])
    assert begun.cancelled()
    [box] = runtime.world.containers.values()
    assert box.state is ContainerState.RUNNING
    await owner.close()
