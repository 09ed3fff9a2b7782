"""What ``explain`` says of a volume that a pod waits for. Pure."""

from .doors import VolumeView


def waits(view: VolumeView) -> str:
    """One line: the volume and what is behind it, since when and for what it waits, last error, next try."""
    behind = [
        f"{word} {value}"
        for word, value in (("claim", view.claim), ("persistent volume", view.persistent_volume))
        if value
    ]
    named = f"volume {view.volume}" + (f" ({', '.join(behind)})" if behind else "")
    parts = [f"{named}: {view.state} for {view.since:.0f}s"]
    if view.waits_for:
        parts.append(f"waits for {view.waits_for}")
    if view.failures:
        parts.append(f"{view.step or 'it'} failed {view.failures} times")
    if view.error:
        parts.append(f"the last error is: {view.error}" if view.failures else view.error)
    if view.next_try is not None:
        parts.append(f"next try in {view.next_try:.0f}s")
    return ", ".join(parts)
