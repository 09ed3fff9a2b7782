import pytest

from pykubelet.api.core import (
    Container,
    EphemeralContainer,
    Pod,
    PodSecurityContext,
    PodSpec,
    SecurityContext,
)
from pykubelet.volumes.identity import group_of, user_of


def running(user):
    return {"securityContext": SecurityContext(runAsUser=user)} if user is not None else {}


@pytest.mark.parametrize(
    ("default", "init", "box", "debug", "user"),
    [
        (None, None, None, None, None),
        (None, 5, 5, 5, 5),
        (None, 5, 5, None, None),
        (5, None, None, None, 5),
        (5, 6, None, None, None),
        (5, 6, 6, 6, 6),
        (None, 0, 0, 0, 0),
    ],
)
def test_the_user_that_all_containers_share(default, init, box, debug, user):
    pod = Pod(
        spec=PodSpec(
            securityContext=PodSecurityContext(runAsUser=default),
            initContainers=[Container(**running(init))],
            containers=[Container(**running(box))],
            ephemeralContainers=[EphemeralContainer(**running(debug))],
        )
    )
    assert user_of(pod) == user


def test_the_group():
    assert group_of(Pod()) is None
    assert group_of(Pod(spec=PodSpec(securityContext=PodSecurityContext(fsGroup=0)))) == 0
