"""A pure model of a runtime, small enough to execute plans on in properties."""

from dataclasses import dataclass, field, replace
from types import MappingProxyType

from pykubelet.api.container_hash import container_hash
from pykubelet.api.core import Container, Pod
from pykubelet.api.podinfo import find_container
from pykubelet.cri.types import ContainerState, ContainerStatus, SandboxState, SandboxStatus
from pykubelet.observe.types import ObservedPod
from pykubelet.pods.orders import Plan

START_NS = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
NO_LABELS = MappingProxyType({})


def instance(
    name,
    state=ContainerState.RUNNING,
    *,
    number=0,
    exit_code=0,
    spec: Container | None = None,
    sandbox_id="s0",
    restart_count=None,
    created_at=START_NS,
    started_at=None,
    finished_at=0,
    reason="",
    message="",
    image_hash=None,
    labels=None,
    annotations=None,
    **more,
):
    """One instance of a container as the runtime shows it."""
    spec = spec or Container(name=name, image="img")
    notes = {
        "io.kubernetes.container.hash": container_hash(spec) if image_hash is None else image_hash,
        "io.kubernetes.container.restartCount": str(number if restart_count is None else restart_count),
        **(annotations or {}),
    }
    if state is ContainerState.EXITED and not finished_at:
        finished_at = created_at + SECOND
    if started_at is None:
        started_at = 0 if state is ContainerState.CREATED else created_at
    return ContainerStatus(
        id=f"{name}-{number}",
        name=name,
        attempt=number,
        state=state,
        created_at=created_at,
        started_at=started_at,
        finished_at=finished_at,
        exit_code=exit_code,
        image=spec.image,
        image_ref=f"{spec.image}@sha256:0",
        image_id="sha256:0",
        reason=reason,
        message=message,
        labels=labels or NO_LABELS,
        annotations=notes,
        sandbox_id=sandbox_id,
        **more,
    )


def sandbox(number=0, state=SandboxState.READY, *, ips=("10.1.0.2",), host_network=False, **more):
    """One sandbox as the runtime shows it."""
    return SandboxStatus(
        id=f"s{number}",
        name="p",
        namespace="ns",
        uid="u",
        attempt=number,
        state=state,
        created_at=START_NS + number,
        ips=() if host_network else ips,
        host_network=host_network,
        labels=NO_LABELS,
        annotations=NO_LABELS,
        **more,
    )


def observed_pod(*containers, sandboxes=None):
    """An observation of the pod of all these tests, by default in one ready sandbox."""
    sandboxes = (sandbox(),) if sandboxes is None else tuple(sandboxes)
    ready = next((s for s in sandboxes if s.state is SandboxState.READY), None)
    return ObservedPod(
        uid="u",
        name="p",
        namespace="ns",
        ips=ready.ips if ready else (),
        sandboxes=sandboxes,
        containers=tuple(containers),
    )


class Verdicts:
    """What probes said, as dictionaries by container ID; ``workers`` holds (container, kind)."""

    def __init__(self, *, liveness=None, readiness=None, startup=None, workers=()):
        self._liveness, self._readiness, self._startup = liveness or {}, readiness or {}, startup or {}
        self._workers = set(workers)

    def liveness(self, container_id):
        return self._liveness.get(container_id)

    def readiness(self, container_id):
        return self._readiness.get(container_id)

    def startup(self, container_id):
        return self._startup.get(container_id)

    def has_worker(self, pod_uid, container, kind):
        return (container, kind) in self._workers


@dataclass
class ModelRuntime:
    """Sandboxes and containers, newest first; time passes with every change."""

    now: int = START_NS
    sandboxes: list[SandboxStatus] = field(default_factory=list)
    containers: list[ContainerStatus] = field(default_factory=list)
    #: How many instances were ever made, by name; restart counts follow the newest instance or the logs.
    made: dict[str, int] = field(default_factory=dict)
    #: Everything that happened, as (what, name).
    history: list[tuple[str, str]] = field(default_factory=list)

    def observed(self) -> ObservedPod:
        return observed_pod(*self.containers, sandboxes=self.sandboxes)

    def running(self):
        return [c.name for c in self.containers if c.state is ContainerState.RUNNING]

    def exit(self, name, code):
        """The container's process ends by itself."""
        self._end(lambda c: c.name == name, code)

    def lose_sandbox(self):
        """The pause process dies and takes all containers along."""
        self.sandboxes = [replace(s, state=SandboxState.NOTREADY, ips=()) for s in self.sandboxes]
        self._end(lambda c: True, 137)

    def execute(self, pod: Pod, plan: Plan, allowed=lambda name: True):
        """Do what the plan orders; *allowed* is the back-off's word on a start."""
        if plan.kill_pod:
            self._end(lambda c: True, 137)
            self.sandboxes = [replace(s, state=SandboxState.NOTREADY, ips=()) for s in self.sandboxes]
            self.history.append(("kill-pod", ""))
        for order in plan.kill:
            self._end(lambda c, order=order: c.id == order.id, 137)
        for order in plan.remove:
            if order.kill:
                self._end(lambda c, order=order: c.id == order.id, 137)
            found = next(c for c in self.containers if c.id == order.id)
            assert found.state is not ContainerState.RUNNING, "a running container is never removed"
            self.containers.remove(found)
        sandbox_id = plan.sandbox_id
        if plan.create_sandbox:
            number = plan.create_sandbox.attempt
            assert all(s.state is SandboxState.NOTREADY for s in self.sandboxes)
            assert number not in {s.attempt for s in self.sandboxes}
            host = pod.spec.hostNetwork
            self.sandboxes.insert(0, sandbox(number, host_network=host))
            sandbox_id = f"s{number}"
            self.history.append(("sandbox", str(number)))
        for orders in (plan.start_ephemeral, plan.start_init):
            for order in orders:
                if not self._start(pod, order.container, sandbox_id, allowed) and order.kind == "init":
                    return
        for order in plan.start:
            self._start(pod, order.container, sandbox_id, allowed)

    def _start(self, pod, name, sandbox_id, allowed):
        spec = find_container(pod, name)[0]
        ran = any(c.name == name and c.state is ContainerState.EXITED for c in self.containers)
        if ran and not allowed(name):
            return spec.restartPolicy == "Always"
        assert name not in self.running(), f"two instances of {name}"
        self.now += SECOND
        number = self.made.get(name, 0)
        self.made[name] = number + 1
        newest = next((c for c in self.containers if c.name == name), None)
        count = number if newest is None else newest.restart_count + 1
        self.containers.insert(
            0,
            instance(
                name,
                number=number,
                spec=spec,
                sandbox_id=sandbox_id,
                restart_count=count,
                created_at=self.now,
            ),
        )
        self.history.append(("start", name))
        return True

    def _end(self, which, code):
        self.now += SECOND
        ending = (ContainerState.RUNNING, ContainerState.UNKNOWN)
        self.containers = [
            replace(c, state=ContainerState.EXITED, exit_code=code, finished_at=self.now)
            if which(c) and c.state in ending
            else c
            for c in self.containers
        ]
