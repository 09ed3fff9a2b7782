"""The fixtures of the contract's tests."""

from tests.apiserver.fixtures import cluster

__all__ = ["cluster"]
