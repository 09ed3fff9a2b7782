"""The fault matrix: every call of CRI × everything that can go wrong with it."""

from collections.abc import Iterable

import pytest
from tests.criproxy.proxy import FAULTS, Fault, methods


def fault_matrix(
    faults: Iterable[Fault] = FAULTS, *, only: Iterable[str] | None = None
) -> list[pytest.param]:
    """Parameters ``(method, fault)`` for ``@pytest.mark.parametrize``, from the services' descriptor.

    *only* restricts it to some methods, named as in CRI.
    """
    wanted = set(only) if only is not None else None
    unknown = (wanted or set()) - set(methods())
    assert not unknown, f"CRI has no methods {sorted(unknown)}"
    return [
        pytest.param(method, fault, id=f"{method}-{fault.name}")
        for method in methods()
        if wanted is None or method in wanted
        for fault in faults
    ]
