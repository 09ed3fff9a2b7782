"""Placeholder to be replaced."""

from typing import Any


class Quantity:
    def __init__(self, raw: Any) -> None:
        self.raw = raw
