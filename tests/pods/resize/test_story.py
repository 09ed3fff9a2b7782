from tests.pods.resize.model import c, pod

from pykubelet.api.core import ResourceClaim
from pykubelet.pods.resize.story import amounts_text, resize_message


def test_upstreams_summary():
    p = pod(c("c1", "", "100/200"), c("c2", "200m/", "100/"), init=[c("c0", "100m/200m")])
    assert resize_message("completed", p, 2) == (
        'Pod resize completed: {"initContainers":[{"name":"c0","resources":{"limits":{"cpu":"200m"},'
        '"requests":{"cpu":"100m"}}}],"containers":[{"name":"c1","resources":{"limits":{"memory":"200"},'
        '"requests":{"memory":"100"}}},{"name":"c2","resources":{"requests":{"cpu":"200m","memory":"100"}}}],'
        '"generation":2}'
    )
    assert resize_message("OutOfcpu", pod(c("c0")), 1, "Node didn't <have> it") == (
        'Pod resize OutOfcpu: {"containers":[{"name":"c0","resources":{}}],"generation":1,'
        '"error":"Node didn\'t \\u003chave\\u003e it"}'
    )
    p.spec.containers[0].resources.claims.append(ResourceClaim(name="gpu"))
    assert '"requests":{"memory":"100"},"claims":[{"name":"gpu"}]' in resize_message("started", p, 1)


def test_words():
    assert amounts_text(pod(c("app", "1/2"), c("b"), whole=("4/", ""))) == (
        "pod requests cpu=4, limits none; app requests cpu=1, limits cpu=2; b requests none, limits none"
    )
