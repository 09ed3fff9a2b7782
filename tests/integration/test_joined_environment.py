"""A container's environment, made of the API server's objects, of services and of the pod itself."""

import asyncio
import base64

import pytest
from tests.apiserver.cluster import DoubleCluster
from tests.integration.joined import state
from tests.integration.killed_node import container
from tests.integration.node import pod

pytestmark = pytest.mark.asyncio(loop_scope="module")


def ref(kind, name, key, **more):
    return {"valueFrom": {f"{kind}KeyRef": {"name": name, "key": key, **more}}}


def field(path):
    return {"valueFrom": {"fieldRef": {"fieldPath": path}}}


async def variables(joined, shown):
    """The environment of the pod's container."""
    lines = (await joined.exec(shown, "env")).splitlines()
    return dict(line.split("=", 1) for line in lines)


async def test_values_of_objects_and_of_the_pod(joined):
    await joined.put("configmaps", "env", data={"k": "from-cm", "1-odd.key": "taken"})
    await joined.put("secrets", "env", data={"k": base64.b64encode(b"hush").decode(), "S": "eQ=="})
    app = container(
        "app",
        env=[
            {"name": "CM", **ref("configMap", "env", "k")},
            {"name": "SECRET", **ref("secret", "env", "k")},
            {"name": "MISSING", **ref("configMap", "env", "none", optional=True)},
            {"name": "NONE", **ref("secret", "no-such", "k", optional=True)},
            {"name": "COMPOSED", "value": "$(CM)/$(SECRET)/$$(CM)"},
            {"name": "NAME", **field("metadata.name")},
            {"name": "NAMESPACE", **field("metadata.namespace")},
            {"name": "LABEL", **field("metadata.labels['colour']")},
            {"name": "NODE", **field("spec.nodeName")},
            {"name": "ACCOUNT", **field("spec.serviceAccountName")},
            {"name": "POD_IP", **field("status.podIP")},
            {"name": "HOST_IP", **field("status.hostIP")},
            {
                "name": "MEMORY",
                "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}},
            },
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}},
        ],
        envFrom=[
            {"configMapRef": {"name": "env"}, "prefix": "P_"},
            {"secretRef": {"name": "env"}},
            {"configMapRef": {"name": "no-such", "optional": True}},
        ],
        resources={"limits": {"memory": "64Mi", "cpu": "100m"}},
    )
    await joined.create(pod("env", app), labels={"colour": "red"})
    [shown] = await joined.ready("env")
    found = await variables(joined, shown)
    status = shown["status"]
    expected = {
        "CM": "from-cm",
        "SECRET": "hush",
        "COMPOSED": "from-cm/hush/$(CM)",
        "NAME": "env",
        "NAMESPACE": joined.cluster.namespace,
        "LABEL": "red",
        "NODE": joined.name,
        "ACCOUNT": "default",
        "POD_IP": status["podIP"],
        "HOST_IP": status["hostIP"],
        "MEMORY": "64",
        "CPU": "100",
        "P_k": "from-cm",
        "S": "y",
    }
    assert {name: found.get(name) for name in expected} == expected
    assert not {"MISSING", "NONE"} & found.keys()
    # A shell drops such a name; the process has it.
    assert "P_1-odd.key=taken" in await joined.exec(shown, "tr '\\0' '\\n' < /proc/1/environ")


async def test_a_missing_key_or_object_is_waited_for(joined):
    await asyncio.gather(*(waits_for_key(joined, kind) for kind in ("configMap", "secret")))


async def waits_for_key(joined, kind):
    plural, name = f"{kind.lower()}s", f"missing-{kind.lower()}"
    await joined.create(pod(name, container("app", env=[{"name": "V", **ref(kind, name, "k")}])))
    shown = await joined.until(
        name, lambda p: state(p, "waiting").get("reason") == "CreateContainerConfigError"
    )
    assert state(shown, "waiting")["message"] == f'{kind.lower()} "{name}" not found'
    await joined.put(plural, name, data={"other": "eA=="})
    shown = await joined.until(name, lambda p: "couldn't find key" in state(p, "waiting").get("message", ""))
    assert state(shown, "waiting")["reason"] == "CreateContainerConfigError"
    await joined.put(plural, name, data={"k": "eA=="})
    [shown] = await joined.ready(name)
    assert (await variables(joined, shown))["V"] == ("x" if kind == "secret" else "eA==")


async def test_service_variables(joined):
    spec = {"ports": [{"port": 80, "name": "web"}], "selector": {"no": "such"}}
    if isinstance(joined.cluster, DoubleCluster):
        # Nobody there gives out addresses.
        spec["clusterIP"] = "10.96.0.99"
    made = await joined.cluster.create(
        joined.cluster.path("services"), {"metadata": {"name": "front-end"}, "spec": spec}
    )
    address = made["spec"]["clusterIP"]
    # The node hears of the service by a watch of its own: some pods may come first.
    for number in range(20):
        await joined.create(pod(f"linked-{number}", container("app")))
        [linked] = await joined.ready(f"linked-{number}")
        found = await variables(joined, linked)
        if "FRONT_END_SERVICE_HOST" in found:
            break
    assert found["FRONT_END_SERVICE_HOST"] == address
    assert found["FRONT_END_SERVICE_PORT"] == "80"
    assert found["FRONT_END_SERVICE_PORT_WEB"] == "80"
    assert found["FRONT_END_PORT_80_TCP"] == f"tcp://{address}:80"
    await joined.create(pod("unlinked", container("app"), enableServiceLinks=False))
    [unlinked] = await joined.ready("unlinked")
    assert "FRONT_END_SERVICE_HOST" not in await variables(joined, unlinked)
