"""A span of time as the API's ``metav1.Duration``: nanoseconds inside, Go's text outside."""

from typing import Self

from .gotext import format_duration, parse_duration

_NS = 1_000_000_000


class Duration(int):
    """Nanoseconds; ``str()`` gives Go's text (``1m0s``). Zero counts as unset where defaults apply."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read Go's duration text.

        :raises ValueError: not a Go duration.
        """
        return cls(parse_duration(text))

    @classmethod
    def of(cls, seconds: float) -> Self:
        """Build from seconds."""
        return cls(round(seconds * _NS))

    @property
    def seconds(self) -> float:
        """The span in seconds, as asyncio's timers want it."""
        return int(self) / _NS

    def __str__(self) -> str:
        return format_duration(int(self))

    def __repr__(self) -> str:
        return f"Duration({self})"
