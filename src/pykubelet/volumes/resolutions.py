"""What was found behind pods' volumes, and what is to be found out anew. No I/O."""

from collections.abc import Callable, Iterable

from .state import Resolved, SourceKey


class Resolutions:
    """What is known of each volume of a pod that leads further; asked again with each sync of the pod."""

    def __init__(self) -> None:
        self._found: dict[SourceKey, Resolved] = {}
        self._errors: dict[SourceKey, str] = {}
        self._stale: set[SourceKey] = set()

    def get(self, source: SourceKey) -> Resolved | None:
        """What is behind it, as last found out."""
        return self._found.get(source)

    def error(self, source: SourceKey) -> str:
        """Why that could not be found out; empty when it could, or is being tried."""
        return self._errors.get(source, "")

    def open(self, sources: Iterable[SourceKey]) -> dict[SourceKey, bool]:
        """Those of *sources* to be found out now; whether something is known of each."""
        return {
            source: source in self._found
            for source in sources
            if source not in self._found or source in self._stale
        }

    def ask(self, which: Callable[[SourceKey], bool]) -> list[SourceKey]:
        """Find those out again; which they are."""
        asked = [source for source in {*self._found, *self._errors} if which(source)]
        for source in asked:
            self._stale.add(source)
            self._errors.pop(source, None)
        return asked

    def begun(self, source: SourceKey) -> None:
        """It is being found out: what is asked from now on counts anew."""
        self._stale.discard(source)

    def done(self, source: SourceKey, resolved: Resolved) -> None:
        """It was found out: *resolved* is behind it."""
        self._found[source] = resolved
        self._errors.pop(source, None)

    def failed(self, source: SourceKey, error: str) -> None:
        """It could not be found out; what was known of it stays."""
        self._errors[source] = error
        self._stale.add(source)

    def keep(self, uids: Iterable[str]) -> None:
        """Forget all other pods."""
        kept = set(uids)
        for source in [source for source in {*self._found, *self._errors} if source.uid not in kept]:
            self._found.pop(source, None)
            self._errors.pop(source, None)
            self._stale.discard(source)
