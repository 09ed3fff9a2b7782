"""Who decides who may ask the node's servers."""

from types import SimpleNamespace

import pytest

from pykubelet.config import load
from pykubelet.server import AlwaysAllow, AlwaysDeny
from pykubelet.wiring.servers import authorizer_of


def loaded(tmp_path, mode):
    return load([f"--root-dir={tmp_path}", f"--authorization-mode={mode}"])


@pytest.mark.parametrize(("mode", "kind"), [("AlwaysAllow", AlwaysAllow), ("Webhook", AlwaysDeny)])
def test_a_node_without_a_cluster(tmp_path, mode, kind):
    assert isinstance(authorizer_of(loaded(tmp_path, mode), None), kind)


def test_a_node_of_a_cluster_asks_it(tmp_path):
    own = object()
    cluster = SimpleNamespace(trust=SimpleNamespace(authorizer=own))
    assert authorizer_of(loaded(tmp_path, "Webhook"), cluster) is own


def test_a_node_of_a_cluster_that_is_told_not_to_ask(tmp_path):
    cluster = SimpleNamespace(trust=SimpleNamespace(authorizer=None))
    assert isinstance(authorizer_of(loaded(tmp_path, "AlwaysAllow"), cluster), AlwaysAllow)
