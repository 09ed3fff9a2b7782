"""Recording doubles of the doors of a pod's worker, over the model of a runtime."""

from dataclasses import asdict, replace

from tests.pods.model import ModelRuntime, Verdicts, sandbox

from pykubelet.base.clock import LoopClock
from pykubelet.base.errors import SandboxError, StartError
from pykubelet.base.journal import NullJournal
from pykubelet.cri.types import ContainerState, SandboxState
from pykubelet.linux.cgroups import Limits


class Told(NullJournal):
    """Remembers decisions and events."""

    def __init__(self) -> None:
        self.decisions: list[str] = []
        self.events: list[tuple[str, str]] = []

    def record(self, decision, text, *, pod=None, container="", cause="", **facts) -> None:
        self.decisions.append(decision)

    def pod_event(self, pod, kind, reason, message, *, field_path="") -> None:
        self.events.append((reason, message))

    def event_reasons(self) -> list[str]:
        return [reason for reason, _ in self.events]


class Starter:
    """Does at once what it is told, in the model; *failing* holds the errors of calls (``start web``)."""

    def __init__(self, runtime: ModelRuntime) -> None:
        self.runtime = runtime
        self.calls: list[str] = []
        self.failing: dict[str, Exception] = {}

    def _call(self, *words) -> None:
        call = " ".join(map(str, words))
        self.calls.append(call)
        if call in self.failing:
            raise self.failing[call]

    async def prepare_pod(self, pod) -> None:
        self._call("prepare")

    async def create_sandbox(self, pod, attempt) -> str:
        self._call("sandbox", attempt)
        self.runtime.sandboxes.insert(0, sandbox(attempt))
        return f"s{attempt}"

    async def start_container(self, pod, container, kind, sandbox_id, observed) -> str:
        self._call("start", container.name)
        self.runtime._start(pod, container.name, sandbox_id, lambda name: True)
        return self.runtime.containers[0].id

    async def pre_stop(self, pod, container, container_id, ips, timeout) -> None:
        self._call("preStop", container.name)

    async def stop_container(self, container_id, grace) -> None:
        self._call("stop", container_id)
        self.runtime._end(lambda c: c.id == container_id, 137)

    async def stop_sandbox(self, sandbox_id) -> None:
        self._call("stop", sandbox_id)
        self.runtime.sandboxes = [
            replace(s, state=SandboxState.NOTREADY, ips=()) if s.id == sandbox_id else s
            for s in self.runtime.sandboxes
        ]

    async def remove_container(self, status, *, keep_logs=False) -> None:
        self._call("remove", status.id, *(["keep"] if keep_logs else []))
        assert status.state is not ContainerState.RUNNING
        self.runtime.containers = [c for c in self.runtime.containers if c.id != status.id]

    async def remove_sandbox(self, sandbox_id) -> None:
        self._call("remove", sandbox_id)
        self.runtime.sandboxes = [s for s in self.runtime.sandboxes if s.id != sandbox_id]

    async def clean_pod(self, pod_uid, namespace, name) -> None:
        self._call("clean", pod_uid, namespace, name)

    def refuse(self, container: str, reason="ErrImagePull", message="no such image") -> None:
        self.failing[f"start {container}"] = StartError(reason, message)

    def refuse_sandbox(self, attempt=0, message="no network") -> None:
        self.failing[f"sandbox {attempt}"] = SandboxError(message)


class Probes(Verdicts):
    """Verdicts that a test sets, and what was asked."""

    def __init__(self, **verdicts) -> None:
        super().__init__(**verdicts)
        self.asked: list[tuple[str, object]] = []

    def add_pod(self, pod) -> None:
        self.asked.append(("add", pod.metadata.uid))

    def stop_liveness_and_startup(self, pod_uid) -> None:
        self.asked.append(("quiet", pod_uid))

    def remove_pod(self, pod_uid) -> None:
        self.asked.append(("remove", pod_uid))

    def keep_only(self, uids) -> None:
        self.asked.append(("keep", frozenset(uids)))

    def poke_readiness(self, pod_uid, container) -> None:
        self.asked.append(("poke", container))


class Cgroups:
    """Cgroups by pod UID; their limits are those that *wanted* says, until they are set."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.wanted = Limits()
        self.has: dict[str, Limits] = {}
        self.usage: tuple[int | None, dict[str, int | None]] = (None, {})
        self.written: list[Limits] = []
        self.failing: dict[str, OSError] = {}
        self.destroyed: list[str] = []
        self.qos = 0

    async def exists(self, pod) -> bool:
        return pod.metadata.uid in self.there

    async def ensure(self, pod):
        if "ensure" in self.failing:
            raise self.failing["ensure"]
        self.there.add(pod.metadata.uid)
        return self.has.setdefault(pod.metadata.uid, self.wanted), self.wanted

    async def limits(self, pod):
        return self.has.get(pod.metadata.uid, self.wanted)

    async def set_limits(self, pod, limits) -> None:
        if "set" in self.failing:
            raise self.failing["set"]
        self.written.append(limits)
        changed = {key: value for key, value in asdict(limits).items() if value is not None}
        self.has[pod.metadata.uid] = replace(await self.limits(pod), **changed)

    async def memory_usage(self, pod, container_ids):
        return self.usage

    async def destroy(self, uid) -> None:
        self.destroyed.append(uid)
        if "destroy" in self.failing:
            raise self.failing["destroy"]
        self.there.discard(uid)

    async def update_qos(self, active) -> None:
        self.qos += 1

    async def list_pods(self) -> set[str]:
        if "list" in self.failing:
            raise self.failing["list"]
        return set(self.there)

    def parent(self, pod) -> str:
        return f"/kubepods/pod{pod.metadata.uid}"


class Volumes:
    """Volumes that are there after *takes* seconds, or fail."""

    def __init__(self, clock: LoopClock) -> None:
        self.clock, self.takes = clock, 0.0
        self.error: Exception | None = None
        self.gone_error: Exception | None = None

    async def wait_ready(self, pod) -> None:
        await self.clock.sleep(self.takes)
        if self.error is not None:
            raise self.error

    async def wait_gone(self, pod) -> None:
        if self.gone_error is not None:
            raise self.gone_error
