"""The kubelet's command line by pflag's rules, as data in and data out.

``--x=v``, ``--x v``, ``-v=4``, ``-v4``; a bool needs no value and takes one only after ``=``;
underscores count as dashes; ``--`` ends the flags; a stray argument is an unknown command.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from . import values
from .types import ConfigError, KubeletConfiguration, KubeletFlags

#: Kinds of flags that may stand without a value, and what they then mean.
_ALONE = {values.boolean: "true", values.version: "true"}


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag. *target* is ``config.`` or ``flags.`` and the path of the field it sets; empty if retired."""

    name: str
    parse: values.Parse
    target: str
    group: str
    help: str
    deprecated: str = ""
    short: str = ""

    @property
    def alone(self) -> str:
        """The value of the flag when it is given none; empty if it must have one."""
        return _ALONE.get(self.parse, "")


@dataclass(slots=True)
class Parsed:
    """A command line read: what each flag used on it came to, and what to warn of."""

    values: dict[str, Any] = field(default_factory=dict)
    flags: dict[str, Flag] = field(default_factory=dict)
    #: Each flag's value as it was written last.
    texts: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def apply(self, config: KubeletConfiguration, flags: KubeletFlags) -> None:
        """Set, in place, every field that the command line named; feature gates are merged."""
        for name, flag in self.flags.items():
            value = self.values[name]
            if not flag.target or (flag.parse is values.ip and not value):
                continue
            if flag.target == "config.featureGates":
                value = {**config.featureGates, **value}
            root, _, path = flag.target.partition(".")
            set_path(config if root == "config" else flags, path, value)


def set_path(obj: Struct, path: str, value: Any) -> None:
    """Set the field at a dotted path."""
    *parents, last = path.split(".")
    for parent in parents:
        obj = getattr(obj, parent)
    setattr(obj, last, value)


def get_path(obj: Struct, path: str) -> Any:
    """The field at a dotted path."""
    found: Any = obj
    for part in path.split("."):
        found = getattr(found, part)
    return found


def parse(argv: Sequence[str], table: Sequence[Flag]) -> Parsed:
    """Read a command line (without the program's name).

    :raises ConfigError: unknown flag, missing or bad value, stray argument.
    """
    return _Parser(argv, table).run()


class _Parser:
    def __init__(self, argv: Sequence[str], table: Sequence[Flag]) -> None:
        self._rest = list(argv)
        self._by_name = {flag.name: flag for flag in table}
        self._by_short = {flag.short: flag for flag in table if flag.short}
        self._out = Parsed()
        self._stray: list[str] = []

    def run(self) -> Parsed:
        while self._rest:
            word = self._rest.pop(0)
            if word == "--":
                self._stray += self._rest
                break
            if word.startswith("--"):
                self._long(word)
            elif word.startswith("-") and len(word) > 1:
                self._short(word[1:])
            else:
                self._stray.append(word)
        if self._stray:
            raise ConfigError(f"unknown command {self._stray[0]}")
        return self._out

    def _long(self, word: str) -> None:
        name, has_value, value = word[2:].partition("=")
        if not name or name[0] == "-":
            raise _bad(f"bad flag syntax: {word}")
        flag = self._by_name.get(name.replace("_", "-"))
        if flag is None:
            raise _bad(f"unknown flag: --{name}{self._hint(name)}")
        if not has_value:
            value = flag.alone
            if not value:
                if not self._rest:
                    raise _bad(f"flag needs an argument: --{name}")
                value = self._rest.pop(0)
        self._set(flag, value)

    def _short(self, letters: str) -> None:
        cluster = letters
        while letters:
            letter, letters = letters[0], letters[1:]
            flag = self._by_short.get(letter)
            if flag is None:
                raise _bad(f"unknown shorthand flag: {letter!r} in -{cluster}")
            if len(letters) > 1 and letters[0] == "=":
                value, letters = letters[1:], ""
            elif flag.alone:
                value = flag.alone
            elif letters:
                value, letters = letters, ""
            elif self._rest:
                value = self._rest.pop(0)
            else:
                raise _bad(f"flag needs an argument: {letter!r} in -{cluster}")
            self._set(flag, value)

    def _hint(self, name: str) -> str:
        close = difflib.get_close_matches(name.replace("_", "-"), self._by_name, n=1, cutoff=0.8)
        return f" (did you mean --{close[0]}?)" if close else ""

    def _set(self, flag: Flag, text: str) -> None:
        try:
            value = flag.parse(self._out.values.get(flag.name), text)
        except ValueError as error:
            shown = f"-{flag.short}, --{flag.name}" if flag.short else f"--{flag.name}"
            quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            raise _bad(f'invalid argument "{quoted}" for "{shown}" flag: {error}') from None
        self._out.values[flag.name] = value
        self._out.flags[flag.name] = flag
        self._out.texts[flag.name] = text
        if flag.deprecated:
            warning = f"Flag --{flag.name} has been deprecated, {flag.deprecated}"
            if warning not in self._out.warnings:
                self._out.warnings.append(warning)


def _bad(reason: str) -> ConfigError:
    return ConfigError(f"failed to parse kubelet flag: {reason}")
