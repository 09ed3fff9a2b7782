from hypothesis import given
from hypothesis import strategies as st
from tests.pods.model import ModelRuntime, Verdicts

from pykubelet.api.core import (
    Container,
    ContainerRestartRule,
    ContainerRestartRuleOnExitCodes,
    Pod,
    PodSpec,
    PodStatus,
)
from pykubelet.api.meta import ObjectMeta
from pykubelet.base.clock import from_ns
from pykubelet.cri.types import ContainerState
from pykubelet.pods.plan import plan_pod
from pykubelet.pods.restart import restart_all_runs
from pykubelet.pods.status import FINAL_PHASES, NodeFacts, generate_status
from pykubelet.pods.trim import removable

RULES = st.lists(
    st.builds(
        ContainerRestartRule,
        action=st.sampled_from(["Restart", "RestartAllContainers"]),
        exitCodes=st.builds(
            ContainerRestartRuleOnExitCodes,
            operator=st.sampled_from(["In", "NotIn"]),
            values=st.lists(st.sampled_from([0, 1, 42]), max_size=2),
        ),
    ),
    max_size=1,
)


@st.composite
def pods(draw, rules=False):
    def container(name, policies):
        policy = draw(st.sampled_from(policies))
        own = draw(RULES) if rules and policy not in (None, "Always") else []
        return Container(name=name, image="img", restartPolicy=policy, restartPolicyRules=own)

    own = [None, None, "Never", "OnFailure", "Always"] if rules else [None]
    init = [container(f"i{n}", [None, "Always"]) for n in range(draw(st.integers(0, 3)))]
    regular = [container(f"c{n}", own) for n in range(draw(st.integers(1, 2)))]
    return Pod(
        metadata=ObjectMeta(name="p", namespace="ns", uid="u"),
        spec=PodSpec(
            initContainers=init,
            containers=regular,
            restartPolicy=draw(st.sampled_from(["Always", "OnFailure", "Never"])),
        ),
    )


HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(
            st.just("exit"), st.sampled_from(["i0", "i1", "i2", "c0", "c1"]), st.sampled_from([0, 1, 42])
        ),
        st.tuples(st.just("sync"), st.just(""), st.just(0)),
        st.tuples(st.just("trim"), st.just(""), st.just(0)),
        st.tuples(st.just("pause dies"), st.just(""), st.just(0)),
    ),
    max_size=20,
)


class Node:
    """Syncs one pod of a model runtime as a worker does: status first, then the plan."""

    def __init__(self, pod):
        self.pod = pod
        self.runtime = ModelRuntime()
        self.status = None
        self.statuses = []

    def report(self):
        self.status = generate_status(
            self.pod,
            self.runtime.observed(),
            old_status=self.status,
            reasons={},
            verdicts=Verdicts(),
            node=NodeFacts(),
            now=from_ns(self.runtime.now),
            runtime_name="containerd",
        )
        self.statuses.append(self.status)

    def sync(self):
        self.report()
        over = "the pod is over" if self.status.phase in FINAL_PHASES else ""
        plan = plan_pod(
            self.pod,
            self.runtime.observed(),
            verdicts=Verdicts(),
            terminating=over,
            restart_all=restart_all_runs(self.status),
        )
        self.check_order(plan)
        self.runtime.execute(self.pod, plan)
        return plan

    def check_order(self, plan):
        spec = self.pod.spec
        names = [c.name for c in spec.initContainers]
        starts = [names.index(order.container) for order in plan.start_init]
        assert starts == sorted(set(starts))
        running = set(self.runtime.running()) - {k.container for k in plan.kill}
        for order in (*plan.start, *plan.start_init):
            assert order.container not in running or plan.kill_pod
        regular = {c.name for c in spec.containers}
        if plan.start and names and not plan.create_sandbox and not (regular & running):
            last = self.runtime.observed().newest(names[-1])
            assert last is not None
            sidecar = spec.initContainers[-1].restartPolicy == "Always"
            assert last.state is (ContainerState.RUNNING if sidecar else ContainerState.EXITED)
        for order in (*plan.start, *plan.start_init, *plan.kill, *plan.remove):
            assert order.cause

    def settle(self, limit=30):
        for _ in range(limit):
            if self.sync().idle:
                return
        raise AssertionError(f"no rest after {limit} syncs: {self.runtime.history}")

    def happen(self, what, name, code):
        match what:
            case "exit":
                self.runtime.exit(name, code)
            case "sync":
                self.sync()
            case "trim":
                gone = {c.id for c in removable(self.runtime.observed())}
                self.runtime.containers = [c for c in self.runtime.containers if c.id not in gone]
            case _:
                self.runtime.lose_sandbox()


def finish_init(node):
    """Let every init container that is no sidecar succeed, as often as it runs."""
    for _ in range(12):
        node.settle()
        for container in node.pod.spec.initContainers:
            if container.restartPolicy != "Always" and container.name in node.runtime.running():
                node.runtime.exit(container.name, 0)
    node.settle()


@given(pods(rules=True), HAPPENINGS)
def test_planning_again_comes_to_rest(pod, happenings):
    node = Node(pod)
    for happening in happenings:
        node.happen(*happening)
    node.settle()
    assert plan_pod(
        pod,
        node.runtime.observed(),
        verdicts=Verdicts(),
        terminating="over" if node.status.phase in FINAL_PHASES else "",
        restart_all=restart_all_runs(node.status),
    ).idle


@given(pods(), HAPPENINGS)
def test_a_healthy_runtime_ends_with_everything_running_or_over(pod, happenings):
    node = Node(pod)
    for happening in happenings:
        node.happen(*happening)
    finish_init(node)
    running = set(node.runtime.running())
    assert len(running) == len(node.runtime.running())
    if node.status.phase in FINAL_PHASES:
        assert not running
        return
    if pod.spec.restartPolicy == "Never" and node.runtime.observed().ready_sandbox is None:
        # Its sandbox was lost half way: upstream neither begins such a pod anew nor fails it.
        assert not running
        return
    sidecars = {c.name for c in pod.spec.initContainers if c.restartPolicy == "Always"}
    assert sidecars <= running
    assert running & {c.name for c in pod.spec.containers}


@given(pods())
def test_init_containers_come_in_order_and_sidecars_before_regular_ones(pod):
    node = Node(pod)
    finish_init(node)
    started = [name for what, name in node.runtime.history if what == "start"]
    assert started == [c.name for c in (*pod.spec.initContainers, *pod.spec.containers)]


@given(pods(rules=True), HAPPENINGS, HAPPENINGS)
def test_a_final_phase_stays_and_starts_nothing(pod, before, after):
    node = Node(pod)
    for happening in before:
        node.happen(*happening)
    node.settle()
    if node.status.phase not in FINAL_PHASES:
        return
    phase, history = node.status.phase, list(node.runtime.history)
    for happening in after:
        node.happen(*happening)
        node.report()
        assert node.status.phase == phase
    node.settle()
    assert [h for h in node.runtime.history[len(history) :] if h[0] != "kill-pod"] == []


@given(pods(rules=True), HAPPENINGS)
def test_restart_counts_never_go_down_and_initialized_stays(pod, happenings):
    node = Node(pod)
    for happening in happenings:
        node.happen(*happening)
        node.sync()
        node.report()
    for earlier, later in zip(node.statuses, node.statuses[1:], strict=False):
        counts = {s.name: s.restartCount for s in all_statuses(earlier)}
        for status in all_statuses(later):
            assert status.restartCount >= counts[status.name]
        if condition(earlier, "Initialized") == "True":
            assert condition(later, "Initialized") == "True"


def all_statuses(status: PodStatus):
    return (*status.initContainerStatuses, *status.containerStatuses)


def condition(status, kind):
    return next(c.status for c in status.conditions if c.type == kind)
