"""Waits that grow: exponential back-off with jitter, handed its randomness."""

import random
from collections.abc import Iterator


def exponential(
    first: float, last: float, *, factor: float = 2.0, jitter: float = 0.0, rng: random.Random | None = None
) -> Iterator[float]:
    """Yield *first*, *first*·*factor*, … up to *last* for ever, each times 1 … 1+*jitter* (seconds)."""
    rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
    wait = first
    while True:
        yield wait * (1 + rng.random() * jitter)
        wait = min(wait * factor, last)
