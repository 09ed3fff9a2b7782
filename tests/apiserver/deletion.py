"""When and how an object ends: grace periods, preconditions, finalizers. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.apiserver import errors, resources
from tests.apiserver.resources import Object, Resource
from tests.apiserver.store import copy


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a DELETE does: the object as it is to be written (None: not at all), and whether it goes."""

    write: Object | None
    remove: bool


def timestamp(moment: datetime) -> str:
    """A metav1.Time."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def check_preconditions(resource: Resource, obj: Object, options: Mapping[str, Any]) -> None:
    """:raises ApiError: 409, *obj* is another one than the caller means."""
    asked = options.get("preconditions") or {}
    metadata = obj["metadata"]
    uid, version = asked.get("uid"), asked.get("resourceVersion")
    if uid and uid != metadata["uid"]:
        why = (
            f"the UID in the precondition ({uid}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated"
        )
        raise errors.conflict(resource.kind, resource.group, metadata["name"], why)
    if version and version != metadata["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in "
            f"record ({metadata['resourceVersion']}). The object might have been modified"
        )
        raise errors.conflict(resource.kind, resource.group, metadata["name"], why)


def decide(resource: Resource, obj: Object, grace: int | None, now: datetime) -> Verdict:
    """What deleting *obj* with *grace* seconds (None: its own) does."""
    kept = bool(obj["metadata"].get("finalizers"))
    if resource is resources.PODS:
        return _pod(obj, grace, now, kept)
    if not kept:
        return Verdict(None, remove=True)
    if "deletionTimestamp" in obj["metadata"]:
        return Verdict(None, remove=False)
    return Verdict(_marked(obj, 0, now), remove=False)


def _pod(pod: Object, grace: int | None, now: datetime, kept: bool) -> Verdict:
    if grace is not None and grace < 0:
        grace = 1
    metadata = pod["metadata"]
    if "deletionTimestamp" not in metadata:
        period = _period(pod, grace)
        return Verdict(_marked(pod, period, now), remove=period == 0 and not kept)
    present = metadata.get("deletionGracePeriodSeconds") or 0
    if present == 0:
        return Verdict(None, remove=not kept)
    if grace is None or grace >= present:
        return Verdict(None, remove=False)
    began = datetime.fromisoformat(metadata["deletionTimestamp"]) - timedelta(seconds=present)
    end = began + timedelta(seconds=grace)
    if end < now:
        end, grace = now, min(grace, 1)
    shorter = copy(pod)
    shorter["metadata"]["deletionTimestamp"] = timestamp(end)
    shorter["metadata"]["deletionGracePeriodSeconds"] = grace
    return Verdict(shorter, remove=grace == 0 and not kept)


def _period(pod: Object, grace: int | None) -> int:
    if not pod["spec"].get("nodeName") or pod.get("status", {}).get("phase") in ("Failed", "Succeeded"):
        return 0
    period = grace if grace is not None else pod["spec"].get("terminationGracePeriodSeconds") or 0
    return 1 if period < 0 else period


def _marked(obj: Object, period: int, now: datetime) -> Object:
    marked = copy(obj)
    metadata = marked["metadata"]
    metadata["deletionTimestamp"] = timestamp(now + timedelta(seconds=period))
    metadata["deletionGracePeriodSeconds"] = period
    if metadata.get("generation"):
        metadata["generation"] += 1
    return marked


def is_over(obj: Object) -> bool:
    """Whether nothing keeps an object that is being deleted any more."""
    metadata = obj["metadata"]
    ending = "deletionTimestamp" in metadata and not metadata.get("finalizers")
    return ending and not metadata.get("deletionGracePeriodSeconds")
