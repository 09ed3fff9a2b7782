"""The manager's book: desired and actual volumes side by side, what runs, and what failed.

Only the manager writes to it, on the event loop; it does no I/O.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from types import MappingProxyType

from pykubelet.api.core import Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volumes import Volume

from . import payload
from .desired import PodVolumesWanted, volumes_of
from .reconcile import Order, Renewal, Setback, Situation, Target, set_back, uid_of
from .state import Condition, VolumeKey, Wanted
from .story import StoryState, VolumeStory


class Book:
    """Desired state (asked for anew each time) and actual state (kept) of all volumes."""

    def __init__(
        self,
        plugins: Mapping[str, str],
        desired_pods: Callable[[], Sequence[Pod]],
        may_remove: Callable[[str], bool],
        ending: Callable[[str], bool],
        renewed: AbstractSet[str] = frozenset(),
    ) -> None:
        """*plugins* tells the plug-in's name for each kind of volume that can be had.

        *renewed* are names of plug-ins whose volumes' contents may change while pods use them.
        """
        self._plugins = plugins
        self._renewed = renewed
        self._desired_pods = desired_pods
        self._may_remove = may_remove
        self._ending = ending
        #: UIDs of pods that have a directory, as last seen.
        self.directories: frozenset[str] = frozenset()
        self._asked: dict[str, tuple[Pod, PodVolumesWanted]] = {}
        self._wanted: dict[VolumeKey, Wanted] = {}
        self._actual: dict[VolumeKey, Condition] = {}
        self._ready: dict[str, dict[str, MountedVolume]] = {}
        self._running: dict[Target, Order] = {}
        self._setbacks: dict[Target, Setback] = {}
        self._renewals: dict[VolumeKey, Renewal] = {}
        self._since: dict[VolumeKey, float] = {}

    # --- desired --------------------------------------------------------------

    def asked_by(self, pod: Pod) -> PodVolumesWanted:
        """What the pod asks for; computed once for each version of the pod."""
        uid = pod.metadata.uid
        known = self._asked.get(uid)
        if known is None or known[0] is not pod:
            known = (pod, volumes_of(pod, self._plugins))
            self._asked[uid] = known
        return known[1]

    def doubt(self, uid: str) -> None:
        """The pod changed: whether it leaves a directory is to be looked at again."""
        self.directories |= {uid}

    def wanted(self, key: VolumeKey) -> Wanted | None:
        """The volume, if a pod that may run asks for it."""
        return self._wanted.get(key)

    def pod(self, uid: str) -> Pod | None:
        """The pod as last seen."""
        known = self._asked.get(uid)
        return known[0] if known is not None else None

    def situation(self, now: float, *, sources_ready: bool) -> Situation:
        """All that the core decides from."""
        pods = {pod.metadata.uid: pod for pod in self._desired_pods()}
        kept = {uid for uid in {*pods, *self.directories, *self._uids()} if not self._may_remove(uid)}
        before, self._wanted = self._wanted, {}
        for uid, pod in pods.items():
            asked = self.asked_by(pod)
            if uid in kept and not self._ending(uid):
                self._wanted.update((wanted.key, wanted) for wanted in asked.volumes.values())
        for key, wanted in self._wanted.items():
            if key in before and _differs(before[key], wanted):
                self._renew(key, "the pod changed", now)
        self._prune(set(pods))
        return Situation(
            wanted=self._wanted.keys(),
            kept=kept,
            named=pods.keys(),
            actual=self._actual,
            directories=self.directories,
            running=self._running.keys(),
            setbacks=self._setbacks,
            renewals=self._renewals,
            sources_ready=sources_ready,
            now=now,
        )

    def _uids(self) -> set[str]:
        return {key.uid for key in self._actual}

    def _prune(self, named: set[str]) -> None:
        """Forget pods of which nothing is left, and setbacks of what is wanted or there no more."""
        alive = named | self._uids() | self.directories | {uid_of(target) for target in self._running}
        for uid in self._asked.keys() - alive:
            del self._asked[uid]
        for target in list(self._setbacks):
            known = target in self.directories if isinstance(target, str) else self._concerns(target)
            if not known:
                del self._setbacks[target]
        for key in self._since.keys() - self._actual.keys() - self._wanted.keys():
            del self._since[key]
        for key in [key for key in self._renewals if not self._concerns(key)]:
            del self._renewals[key]

    def _concerns(self, key: VolumeKey) -> bool:
        return key in self._wanted or key in self._actual or key in self._running

    # --- actual ---------------------------------------------------------------

    def found(self, key: VolumeKey) -> None:
        """An earlier life left it."""
        self._actual[key] = "uncertain"

    def uncertain(self, key: VolumeKey) -> None:
        """It may be there, wholly or in part."""
        self._actual[key] = "uncertain"
        self._ready.get(key.uid, {}).pop(key.name, None)

    def mounted(
        self, key: VolumeKey, volume: MountedVolume, now: float, renewal: Renewal | None = None
    ) -> None:
        """It is there, with contents that are good until *renewal*."""
        if self._actual.get(key) != "mounted":
            self._since[key] = now
        self._actual[key] = "mounted"
        self._setbacks.pop(key, None)
        self._ready.setdefault(key.uid, {})[key.name] = volume
        if renewal is not None:
            # What changed meanwhile is not in it yet.
            self._renewals.setdefault(key, renewal)

    def refresh(self, uid: str, cause: str, now: float, shows: Callable[[Volume], bool]) -> None:
        """What the pod's volumes are made of changed: each that *shows* it is due at once."""
        for key, wanted in self._wanted.items():
            if key.uid == uid and shows(wanted.volume):
                self._renew(key, cause, now)

    def _renew(self, key: VolumeKey, cause: str, now: float) -> None:
        if key.plugin not in self._renewed:
            return
        self._renewals[key] = Renewal(now, cause)
        setback = self._setbacks.get(key)
        if setback is not None and setback.kind != "unmount":
            # What was missing may be there now.
            self._setbacks[key] = replace(setback, not_before=now)

    def is_mounted(self, key: VolumeKey) -> bool:
        """Whether it is there."""
        return self._actual.get(key) == "mounted"

    def gone(self, key: VolumeKey) -> None:
        """Nothing of it is left."""
        self._actual.pop(key, None)
        self._setbacks.pop(key, None)
        self._since.pop(key, None)
        self._renewals.pop(key, None)
        ready = self._ready.get(key.uid, {})
        ready.pop(key.name, None)
        if not ready:
            self._ready.pop(key.uid, None)

    def present(self, uid: str) -> list[VolumeKey]:
        """What is or may be there of the pod's volumes, or is being made."""
        running = {target for target in self._running if isinstance(target, VolumeKey)}
        return [key for key in {*self._actual, *running} if key.uid == uid]

    def ready(self, uid: str) -> Mapping[str, MountedVolume]:
        """The pod's volumes that are there, by name."""
        return MappingProxyType(dict(self._ready.get(uid, {})))

    def missing(self, pod: Pod) -> list[str]:
        """Names of the volumes that the pod's containers mount and that are not there."""
        ready = self._ready.get(pod.metadata.uid, {})
        return [name for name in self.asked_by(pod).names if name not in ready]

    def unprocessed(self, pod: Pod) -> list[str]:
        """Names of those that nothing is done about."""
        wanted = {key.name for key in self._wanted if key.uid == pod.metadata.uid}
        return [name for name in self.asked_by(pod).names if name not in wanted]

    # --- flight ---------------------------------------------------------------

    def begin(self, order: Order, now: float) -> None:
        """The order runs."""
        self._running[order.target] = order
        if isinstance(order.target, VolumeKey):
            self._renewals.pop(order.target, None)
            if order.kind != "refresh":
                self._since[order.target] = now

    def end(self, target: Target) -> None:
        """Nothing runs for the target any more."""
        self._running.pop(target, None)

    def attempt(self, order: Order) -> int:
        """Which try at the same operation this is, from 1."""
        setback = self._setbacks.get(order.target)
        return setback.failures + 1 if setback is not None and setback.kind == order.kind else 1

    def failed(self, order: Order, error: str, now: float) -> Setback:
        """The order failed; the wait that follows."""
        key = order.target
        setback = set_back(self._setbacks.get(key), order.kind, error, now)
        if isinstance(key, VolumeKey) and order.kind != "unmount":
            if key in self._renewals:
                # Something changed meanwhile: it may go well now.
                setback = replace(setback, not_before=now)
            elif order.kind == "refresh":
                self._renewals[key] = Renewal(now, order.cause)
        self._setbacks[key] = setback
        return setback

    # --- its story ------------------------------------------------------------

    def stories(self, uid: str, now: float) -> tuple[VolumeStory, ...]:
        """Where each of the pod's volumes stands, by name."""
        asked = self._asked.get(uid)
        problems = asked[1].problems if asked is not None else {}
        stories = [VolumeStory(name, "", "impossible", error=text) for name, text in problems.items()]
        keys = {key for key in {*self._wanted, *self._actual} if key.uid == uid}
        stories += [self._story(key, now) for key in keys]
        return tuple(sorted(stories, key=lambda story: story.volume))

    def _story(self, key: VolumeKey, now: float) -> VolumeStory:
        since = now - self._since[key] if key in self._since else 0.0
        setback = self._setbacks.get(key)
        order = self._running.get(key)
        state: StoryState
        if self._actual.get(key) == "mounted" and (order is None or order.kind == "refresh"):
            state = "mounted"
        elif order is not None:
            state = "mounting" if order.kind == "mount" else "unmounting"
        else:
            state = "waiting" if key in self._wanted else "left over"
        if setback is None:
            return VolumeStory(key.name, key.plugin, state, since)
        next_try = max(0.0, setback.not_before - now) if order is None else None
        if state != "mounted":
            since = now - setback.first
        return VolumeStory(key.name, key.plugin, state, since, setback.failures, setback.error, next_try)


def _differs(before: Wanted, wanted: Wanted) -> bool:
    """Whether something changed of the pod that its volume may show."""
    if before.pod is wanted.pod:
        return False
    if before.pod.spec != wanted.pod.spec:
        return True
    old, new = before.pod.metadata, wanted.pod.metadata
    changed = old.labels != new.labels or old.annotations != new.annotations
    return changed and payload.tells_of_pod(wanted.volume)
