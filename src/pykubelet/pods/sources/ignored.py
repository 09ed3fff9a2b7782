"""What manifests say that nobody here understands: told once, as events and in the journal."""

from collections.abc import Collection, Sequence

from pykubelet.api.podinfo import pod_ref
from pykubelet.base.journal import Events, Journal

from .static import StaticPod


def warn_of_ignored(
    journal: Journal, events: Events, pods: Sequence[StaticPod], known: Collection[StaticPod], where: str
) -> None:
    """Warn about ignored fields of those *pods* that are not *known*; *where* names their manifest."""
    for static in pods:
        if not static.warnings or static in known:
            continue
        ref = pod_ref(static.pod)
        for warning in static.warnings:
            text = f"{warning} in {where}, ignoring"
            events.pod_event(ref, "Warning", "FailedValidation", text)
            journal.record("FieldIgnored", text, pod=ref, cause="the manifest was read", where=where)
