"""Why a pod waits for its volumes, told from the manager's book. Pure."""

from dataclasses import replace

from pykubelet.api.core import Pod
from pykubelet.api.volumes import Volume
from pykubelet.base.errors import VolumeError

from . import claims
from .attaching import UNATTENDED
from .book import Book
from .doors import Attachments
from .orders import Kind, Setback, Target
from .state import DeviceKey, SourceKey, VolumeKey, Wanted
from .story import StoryState, VolumeStory

#: What a failure is told of, the last step first.
_KINDS: tuple[Kind, ...] = ("unmount", "expand", "refresh", "mount", "stage", "unstage", "attach")


def stories(book: Book, attachments: Attachments, uid: str, now: float) -> tuple[VolumeStory, ...]:
    """Where each of the pod's volumes stands, by name."""
    problems = book.wants.problems(uid)
    told = [VolumeStory(name, "", "impossible", error=text) for name, text in problems.items()]
    told += [
        VolumeStory(name, "", "waiting", error=text) for name, text in book.wants.unlabelled(uid).items()
    ]
    for key in book.keys_of(uid):
        wanted = book.wants.known(key)
        story = _story(book, attachments, key, now)
        names = wanted.names if wanted is not None else (key.name,)
        told += [replace(story, volume=name) for name in names if name not in problems]
    told += [
        _resolving(book, source, now)
        for source in book.wants.sources
        if source.uid == uid and book.wants.resolutions.get(source) is None
    ]
    return tuple(sorted(told, key=lambda story: story.volume))


def _resolving(book: Book, source: SourceKey, now: float) -> VolumeStory:
    pod = book.wants.pod(source.uid)
    volumes = pod.spec.volumes if pod is not None else []
    volume = next((each for each in volumes if each.name == source.volume), None)
    story = VolumeStory(source.volume, "", "resolving", claim=_claim(pod, volume))
    setback = book.flight.setbacks.get((source, "resolve"))
    if setback is None:
        return story
    next_try = None if source in book.flight.running else max(0.0, setback.not_before - now)
    since = now - setback.first
    return replace(
        story,
        since=since,
        failures=setback.failures,
        error=setback.error,
        next_try=next_try,
        step="resolve",
    )


def _story(book: Book, attachments: Attachments, key: VolumeKey, now: float) -> VolumeStory:
    wanted = book.wants.known(key)
    state = _state(book, key)
    came = book.since(key)
    story = VolumeStory(key.name, key.plugin, state, now - came if came is not None else 0.0)
    if wanted is not None and wanted.resolved is not None and wanted.resolved.spec.pv is not None:
        spec = wanted.resolved.spec
        name = "" if spec.inline else spec.name
        story = replace(story, claim=_claim(wanted.pod, wanted.volume), persistent_volume=name)
    if state == "attaching" and wanted is not None:
        asked = book.wants.asked_since(key)
        story = replace(
            story, since=now - asked if asked is not None else 0.0, waits_for=_attaching(wanted, attachments)
        )
    elif state == "waiting" and wanted is not None:
        story = replace(story, waits_for=_labelled(book, wanted))
    device = book.device_of(key)
    story = replace(story, device=device)
    at = _setback(book, [key, DeviceKey(device)] if device else [key])
    if at is None:
        return story
    setback, step, running = at
    since = story.since if state in ("mounted", "attaching") else now - setback.first
    next_try = None if running else max(0.0, setback.not_before - now)
    return replace(
        story, since=since, failures=setback.failures, error=setback.error, next_try=next_try, step=step
    )


def _state(book: Book, key: VolumeKey) -> StoryState:
    running = book.flight.running
    order = running.get(key)
    if book.is_mounted(key) and (order is None or order.kind in ("refresh", "expand")):
        return "mounted"
    if order is not None:
        return "mounting" if order.kind == "mount" else "unmounting"
    wanted = book.wants.get(key)
    if wanted is None:
        return "left over"
    device = running.get(DeviceKey(wanted.unique_name))
    if device is not None and device.kind == "stage":
        return "staging"
    attachable = wanted.resolved is not None and wanted.resolved.attachable
    return "attaching" if attachable and not book.devices.is_attached(wanted.unique_name) else "waiting"


def _attaching(wanted: Wanted, attachments: Attachments) -> str:
    if not attachments.by_controller:
        return f"somebody to attach it: {UNATTENDED}"
    name = wanted.unique_name
    if not attachments.told(name):
        return f"a written node status that lists {name} in volumesInUse"
    if attachments.seen(name) is False:
        return f"the attach/detach controller: {name} is in volumesInUse, not in volumesAttached"
    return f"{name} in the node's volumesAttached"


def _labelled(book: Book, wanted: Wanted) -> str:
    device = book.devices.states().get(wanted.unique_name)
    if device is None or wanted.resolved is None:
        return ""
    if not device.labelled_otherwise(wanted.resolved.spec.label):
        return ""
    return f"{wanted.unique_name} to be unmounted, which has another SELinux label for other pods"


def _setback(book: Book, targets: list[Target]) -> tuple[Setback, Kind, bool] | None:
    for kind in _KINDS:
        for target in targets:
            setback = book.flight.setbacks.get((target, kind))
            if setback is not None:
                return setback, kind, target in book.flight.running
    return None


def _claim(pod: Pod | None, volume: Volume | None) -> str:
    if pod is None or volume is None:
        return ""
    try:
        return f"{pod.metadata.namespace}/{claims.claim_name(pod, volume)}"
    except VolumeError:
        return ""
