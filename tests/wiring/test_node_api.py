from pathlib import Path

import pytest

from pykubelet.api.core import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
    PodStatus,
)
from pykubelet.api.meta import ObjectMeta
from pykubelet.cri.errors import Code, CriError
from pykubelet.server import ApiError
from pykubelet.wiring.node_api import _refused, _told, log_instance

RUNNING = ContainerState(running=ContainerStateRunning())
WAITING = ContainerState(waiting=ContainerStateWaiting(reason="ContainerCreating"))


def ended(container_id: str = "") -> ContainerState:
    if not container_id:
        return ContainerState(terminated=ContainerStateTerminated(exitCode=1))
    return ContainerState(terminated=ContainerStateTerminated(exitCode=1, containerID=container_id))


def pod(state: ContainerState, last: ContainerState | None = None, *, init: bool = False) -> Pod:
    one = ContainerStatus(
        name="main", state=state, lastState=last or ContainerState(), containerID="containerd://now"
    )
    status = PodStatus(initContainerStatuses=[one]) if init else PodStatus(containerStatuses=[one])
    return Pod(metadata=ObjectMeta(name="web"), status=status)


@pytest.mark.parametrize(
    ("given", "previous", "expected"),
    [
        (pod(RUNNING), False, "containerd://now"),
        (pod(RUNNING, init=True), False, "containerd://now"),
        (pod(RUNNING, ended("containerd://old")), True, "containerd://old"),
        (pod(ended("containerd://dead")), False, "containerd://dead"),
        (pod(ended(), ended("containerd://old")), False, "containerd://old"),
        (pod(WAITING, ended("containerd://old")), False, "containerd://old"),
    ],
)
def test_which_instance_a_log_is_of(given: Pod, previous: bool, expected: str) -> None:
    assert log_instance(given, "main", previous=previous) == expected


WHICH = 'container "main" in pod "web"'


@pytest.mark.parametrize(
    ("given", "previous", "words"),
    [
        (Pod(metadata=ObjectMeta(name="web")), False, f"{WHICH} is not available"),
        (pod(RUNNING), True, f"previous terminated {WHICH} not found"),
        (pod(ended()), False, f"{WHICH} is terminated"),
        (pod(WAITING, ended()), False, f"{WHICH} is terminated"),
        (pod(WAITING), False, f"{WHICH} is waiting to start: ContainerCreating"),
        (
            pod(ContainerState(waiting=ContainerStateWaiting(reason="ErrImagePull"))),
            False,
            f"{WHICH} is waiting to start: image can't be pulled",
        ),
        (
            pod(ContainerState(waiting=ContainerStateWaiting(reason="ImagePullBackOff"))),
            False,
            f"{WHICH} is waiting to start: trying and failing to pull image",
        ),
        (pod(ContainerState()), False, f"{WHICH} is waiting to start - no logs yet"),
    ],
)
def test_why_there_is_no_log(given: Pod, previous: bool, words: str) -> None:
    with pytest.raises(ApiError) as caught:
        log_instance(given, "main", previous=previous)
    assert (caught.value.status, caught.value.message) == (400, words)


@pytest.mark.parametrize(
    ("code", "status", "retry"),
    [(Code.NotFound, 404, None), (Code.ResourceExhausted, 429, 60), (Code.Unknown, 500, None)],
)
def test_refusals_of_the_runtime(code: Code, status: int, retry: int | None) -> None:
    error = _refused(CriError(code, "Exec", "no"))
    assert (error.status, error.retry_after) == (status, retry)
    assert error.message == f"rpc error: code = {code.name} desc = no"


async def test_a_log_that_cannot_be_read_is_an_answer() -> None:
    async def blocks():  # type: ignore[no-untyped-def]
        yield b"one"
        raise FileNotFoundError(2, "No such file or directory")

    told = _told(Path("/logs/0.log"), blocks())
    assert await anext(told) == b"one"
    with pytest.raises(ApiError, match=r'failed to open log file "/logs/0\.log": no such file or directory'):
        await anext(told)
