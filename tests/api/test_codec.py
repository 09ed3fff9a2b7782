# ruff: noqa: E501
import subprocess
import sys

import pytest

from pykubelet.api import codec
from pykubelet.api.core import Pod


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({"spec": {"containers": [{}, {"name": 1}]}}, "spec.containers[1].name"),
        (
            {"spec": {"containers": [{"env": [{"name": "a", "value": 8080}]}]}},
            "spec.containers[0].env[0].value",
        ),
        ({"metadata": {"labels": {"fine": "x", "app.io/bad": 1}}}, "metadata.labels[app.io/bad]"),
        (
            {"spec": {"containers": [{"resources": {"limits": {"cpu": "x"}}}]}},
            "spec.containers[0].resources.limits[cpu]",
        ),
        ({"spec": []}, "spec"),
        ([], ""),
    ],
)
def test_errors_name_the_field(raw, path):
    with pytest.raises(codec.InvalidField) as caught:
        codec.convert(raw, Pod)
    assert caught.value.path == path
    with pytest.raises(codec.InvalidField) as caught:
        codec.decode(codec.encode(raw), Pod)
    assert caught.value.path == path


def test_null_means_not_given():
    pod = codec.decode(
        b'{"metadata":{"creationTimestamp":null,"labels":null,"annotations":{"a":null}},'
        b'"spec":{"containers":[{"name":"a","args":null,"resources":{"limits":null}}],"nodeSelector":{"disk":null}}}',
        Pod,
    )
    assert pod.metadata.labels == {}
    assert pod.metadata.annotations == {"a": ""}
    assert pod.spec.nodeSelector == {"disk": ""}
    assert pod.spec.containers[0].args == []


def test_whole_floats_are_ints():
    assert (
        codec.convert(
            {"spec": {"terminationGracePeriodSeconds": 5.0}}, Pod
        ).spec.terminationGracePeriodSeconds
        == 5
    )


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[" * 100_000, b""])
def test_what_is_no_json(data):
    with pytest.raises(codec.InvalidField, match="not valid JSON"):
        codec.decode(data, Pod)


def test_unknown_fields_and_doubled_keys():
    data = b'{"foo":1,"metadata":{"name":"a","name":"b","labels":{"any":"thing"}},"spec":{"containers":[{"bar":{"x":1}}]}}'
    problems = codec.strict_problems(data, Pod)
    assert [str(p) for p in problems] == [
        'duplicate field "metadata.name"',
        'unknown field "foo"',
        'unknown field "spec.containers[0].bar"',
    ]
    assert codec.unknown_fields({"spec": {"containers": [{"name": "a"}]}}, Pod) == []


def test_round_trip():
    raw = {"spec": {"containers": [{"name": "a", "livenessProbe": {"httpGet": {"port": "http"}}}]}}
    pod = codec.convert(raw, Pod)
    assert codec.decode(codec.encode(pod), Pod) == pod
    assert codec.convert(codec.to_builtins(pod), Pod) == pod


def test_sorted_encoding_does_not_depend_on_order():
    one = codec.convert({"metadata": {"labels": {"a": "1", "b": "2"}}}, Pod)
    other = codec.convert({"metadata": {"labels": {"b": "2", "a": "1"}}}, Pod)
    assert codec.encode(one, sort=True) == codec.encode(other, sort=True)


#: Reads a pod first in many threads at once, which take turns as often as they can.
MANY_THREADS = """
import sys, threading
from pykubelet.api import codec
from pykubelet.api.core import Pod
sys.setswitchinterval(1e-6)
tree = {"spec": {"containers": [{"name": "a", "livenessProbe": {"httpGet": {"port": 1}}}]}}
begun, good = threading.Event(), []
def read(by):
    begun.wait()
    pod = codec.convert(tree, Pod) if by % 2 else codec.decode(codec.encode(tree), Pod)
    good.append(pod.spec.containers[0].livenessProbe.httpGet.port == 1)
threads = [threading.Thread(target=read, args=(by,)) for by in range(8)]
for thread in threads:
    thread.start()
begun.set()
for thread in threads:
    thread.join()
sys.exit(good != [True] * 8)
"""


def test_threads_may_read_the_same_kind_for_the_first_time():
    # A process of its own: what goes wrong here ends it.
    ended = subprocess.run([sys.executable, "-c", MANY_THREADS], capture_output=True, timeout=50, check=False)
    assert ended.returncode == 0, ended.stderr
