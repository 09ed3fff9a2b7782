from tests.pods.model import instance

from pykubelet.pods.restore import restore_container


def test_what_the_container_bears_comes_back():
    status = instance(
        "c",
        labels={
            "io.kubernetes.container.name": "c",
            "io.kubernetes.pod.name": "p",
            "io.kubernetes.pod.namespace": "ns",
            "io.kubernetes.pod.uid": "u",
        },
        annotations={
            "io.kubernetes.pod.deletionGracePeriod": "5",
            "io.kubernetes.pod.terminationGracePeriod": "9",
            "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
            "io.kubernetes.container.preStopHandler": '{"httpGet":{"path":"/x","port":"web"}}',
            "io.kubernetes.container.ports": '[{"name":"web","containerPort":80,"protocol":"TCP"}]',
        },
    )
    pod, container = restore_container(status)
    assert (pod.metadata.name, pod.metadata.namespace, pod.metadata.uid) == ("p", "ns", "u")
    assert pod.metadata.deletionGracePeriodSeconds == 5
    assert pod.spec.terminationGracePeriodSeconds == 9
    assert container.lifecycle.preStop.httpGet.port == "web"
    assert container.ports[0].containerPort == 80
    assert container.terminationMessagePath == "/dev/termination-log"


def test_what_cannot_be_read_counts_as_absent():
    status = instance(
        "c",
        annotations={
            "io.kubernetes.pod.terminationGracePeriod": "soon",
            "io.kubernetes.container.preStopHandler": "{",
            "io.kubernetes.container.ports": '{"no":"list"}',
        },
    )
    pod, container = restore_container(status)
    assert pod.spec.terminationGracePeriodSeconds is None
    assert container.name == "c"
    assert container.lifecycle is None
    assert container.ports == []
