"""``$(NAME)`` references in commands, arguments, variables and sub paths (core/v1 Container, ``command``)."""

import re
from collections.abc import Callable, Mapping, Sequence

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand_with(text: str, resolve: Callable[[str], str | None]) -> str:
    """Replace ``$(NAME)`` by what *resolve* gives; None leaves it as it is; ``$$`` becomes ``$``."""
    if "$" not in text:
        return text

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "$"
        known = resolve(name)
        return found[0] if known is None else known

    return _REFERENCE.sub(value, text)


def expand(text: str, *scopes: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` from the first of *scopes* that has NAME; unknown names stay."""

    def resolve(name: str) -> str | None:
        return next((scope[name] for scope in scopes if name in scope), None)

    return expand_with(text, resolve)


def expand_all(texts: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """Each of *texts* with its references replaced from *env*."""
    return [expand(text, env) for text in texts]


def expand_subpath(expression: str, env: Mapping[str, str]) -> str:
    """A volume mount's ``subPathExpr`` with its references replaced.

    :raises ValueError: a variable is unknown or empty.
    """
    missing: set[str] = set()

    def resolve(name: str) -> str:
        value = env.get(name, "")
        if not value:
            missing.add(name)
        return value

    text = expand_with(expression, resolve)
    if missing:
        raise ValueError(f"missing value for {', '.join(sorted(missing))}")
    return text
