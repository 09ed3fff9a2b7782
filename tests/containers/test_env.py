"""A container's environment from all its sources."""

import pytest

from pykubelet.api.core import (
    ConfigMapEnvSource,
    ConfigMapKeySelector,
    Container,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    FileKeySelector,
    ResourceRequirements,
    SecretEnvSource,
    SecretKeySelector,
)
from pykubelet.api.downward import DownwardFacts
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.quantity import Quantity
from pykubelet.api.volumes import ObjectFieldSelector, ResourceFieldSelector
from pykubelet.containers.doors import NoServices
from pykubelet.containers.env import EnvFacts, environment, gather, needed
from pykubelet.containers.env_file import read_beneath, value_in


def source(**kind):
    return EnvVarSource(**kind)


def field(path):
    return EnvVar(name="F", valueFrom=source(fieldRef=ObjectFieldSelector(fieldPath=path)))


def build(make_pod, container, facts=None, **spec):
    return environment(
        make_pod(container, labels={"k": "v"}, annotations={"a": 'q"'}, **spec),
        container,
        facts or EnvFacts(),
    )


def test_order_and_precedence(make_pod):
    container = Container(
        name="c",
        envFrom=[
            EnvFromSource(prefix="P_", configMapRef=ConfigMapEnvSource(name="cm")),
            EnvFromSource(secretRef=SecretEnvSource(name="s")),
        ],
        env=[
            EnvVar(name="X", value="$(P_A)/$(SVC)/$(LATER)"),
            EnvVar(name="LATER", value="l"),
            EnvVar(name="EMPTY"),
            EnvVar(name="SVC2", value="own"),
        ],
    )
    facts = EnvFacts(
        config_maps={"cm": {"A": "1"}}, secrets={"s": {"B": b"2"}}, services={"SVC": "ip", "SVC2": "no"}
    )
    assert build(make_pod, container, facts) == {
        "P_A": "1",
        "B": "2",
        "X": "1/ip/$(LATER)",
        "LATER": "l",
        "EMPTY": "",
        "SVC2": "own",
        "SVC": "ip",
    }


def key_ref(kind, key, optional=None):
    selector = ConfigMapKeySelector if kind == "configMapKeyRef" else SecretKeySelector
    return EnvVar(name="K", valueFrom=source(**{kind: selector(name="n", key=key, optional=optional)}))


FACTS = EnvFacts(config_maps={"n": {"k": "1"}}, secrets={"n": {"k": b"2"}})
NONE = EnvFacts(config_maps={"n": None}, secrets={"n": None})


@pytest.mark.parametrize(
    ("variable", "facts", "wanted"),
    [
        (key_ref("configMapKeyRef", "k"), FACTS, {"K": "1"}),
        (key_ref("secretKeyRef", "k"), FACTS, {"K": "2"}),
        (key_ref("secretKeyRef", "no", True), FACTS, {}),
        (key_ref("configMapKeyRef", "k", True), NONE, {}),
    ],
)
def test_keys(make_pod, variable, facts, wanted):
    assert build(make_pod, Container(name="c", env=[variable]), facts) == wanted


@pytest.mark.parametrize(
    ("variable", "facts", "text"),
    [
        (key_ref("configMapKeyRef", "no"), FACTS, "couldn't find key no in ConfigMap ns/n"),
        (key_ref("secretKeyRef", "no"), FACTS, "couldn't find key no in Secret ns/n"),
        (key_ref("secretKeyRef", "k"), NONE, 'secret "n" not found'),
        (field("spec.nothing"), EnvFacts(), "field label not supported: spec.nothing"),
        (field("metadata.name['x']"), EnvFacts(), "field label does not support subscript"),
    ],
)
def test_what_cannot_be(make_pod, variable, facts, text):
    with pytest.raises(ValueError, match=text):
        build(make_pod, Container(name="c", env=[variable]), facts)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "ns"),
        ("metadata.uid", "uid-1"),
        ("metadata.labels['k']", "v"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations", 'a="q\\""'),
        ("spec.nodeName", "n1"),
        ("spec.serviceAccountName", "sa"),
        ("status.podIP", "10.0.0.1"),
        ("status.podIPs", "10.0.0.1,fd00::1"),
        ("status.hostIP", "192.0.2.1"),
        ("status.hostIPs", "192.0.2.1"),
    ],
)
def test_fields(make_pod, path, wanted):
    facts = EnvFacts(downward=DownwardFacts(("10.0.0.1", "fd00::1"), ("192.0.2.1",)))
    made = build(
        make_pod, Container(name="c", env=[field(path)]), facts, nodeName="n1", serviceAccountName="sa"
    )
    assert made == {"F": wanted}


@pytest.mark.parametrize(
    ("resource", "divisor", "wanted"),
    [
        ("limits.cpu", None, "2"),
        ("limits.cpu", "1m", "1500"),
        ("requests.cpu", None, "0"),
        ("limits.memory", "1Mi", "100"),
        ("limits.ephemeral-storage", None, "7"),
        ("requests.memory", "1Mi", "1"),
    ],
)
def test_resources(make_pod, resource, divisor, wanted):
    amounts = {"cpu": Quantity.parse("1500m")}
    container = Container(
        name="c",
        resources=ResourceRequirements(limits=amounts, requests={"memory": Quantity.parse("1")}),
        env=[
            EnvVar(
                name="R",
                valueFrom=source(
                    resourceFieldRef=ResourceFieldSelector(
                        resource=resource, divisor=Quantity.parse(divisor) if divisor else None
                    )
                ),
            )
        ],
    )
    allocatable = {"memory": Quantity.parse("100Mi"), "ephemeral-storage": Quantity.parse("7")}
    facts = EnvFacts(downward=DownwardFacts(allocatable=allocatable))
    assert build(make_pod, container, facts) == {"R": wanted}


def test_needs_are_named_once():
    container = Container(
        name="c",
        envFrom=[EnvFromSource(configMapRef=ConfigMapEnvSource(name="a"))],
        env=[
            EnvVar(name="X", valueFrom=source(configMapKeyRef=ConfigMapKeySelector(name="a", key="k"))),
            EnvVar(name="Y", value="v", valueFrom=source(secretKeyRef=SecretKeySelector(name="unused"))),
        ],
    )
    assert needed(container).config_maps == ("a",)
    assert needed(container).secrets == ()


class Unread:
    def environment(self, namespace, *, links):
        return None


async def test_services_must_have_been_read(make_pod):
    pod = make_pod()
    args = (pod.spec.containers[0], None)
    with pytest.raises(ValueError, match="services have not yet been read"):
        await gather(pod, *args, Unread(), {}, DownwardFacts())
    static = make_pod(annotations={"kubernetes.io/config.source": "file"})
    assert (await gather(static, *args, Unread(), {}, DownwardFacts())).services == {}
    with pytest.raises(ValueError, match=r"nil pod.spec.enableServiceLinks"):
        await gather(make_pod(enableServiceLinks=None), *args, NoServices(), {}, DownwardFacts())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("K='v'", "v"),
        ("# c\n\n  A='1'\nK='a b' # c\n", "a b"),
        ("K='two\nlines'", "two\nlines"),
        ("K= 'x'", ""),
        ("A='1'", ""),
    ],
)
def test_environment_files(text, wanted):
    assert value_in(text, "K") == wanted


@pytest.mark.parametrize("text", ["K", "K =''", "K=v", "K='open", "K='v' x", "=''"])
def test_environment_files_that_are_none(text):
    with pytest.raises(ValueError, match="line"):
        value_in(text, "K")


async def test_environment_files_stay_in_their_volume(make_pod, tmp_path):
    (tmp_path / "outside").write_text("K='secret'")
    volume = tmp_path / "v"
    volume.mkdir()
    (volume / "f").write_text("K='v'")
    (volume / "link").symlink_to(tmp_path / "outside")
    assert read_beneath(str(volume), "f") == "K='v'"

    async def get(path, optional=None, **gate):
        ref = FileKeySelector(volumeName="v", path=path, key="K", optional=optional)
        container = Container(name="c", env=[EnvVar(name="X", valueFrom=source(fileKeyRef=ref))])
        pod = make_pod(container)
        volumes = {"v": MountedVolume("v", str(volume))}
        facts = await gather(pod, container, None, NoServices(), volumes, DownwardFacts(), **gate)
        return environment(pod, container, facts)

    assert await get("f") == {"X": "v"}
    assert await get("missing", True) == {}
    for path in ("link", "../outside", "missing"):
        with pytest.raises(ValueError, match="couldn't parse env file"):
            await get(path)
    (volume / "other").write_text("OTHER='v'")
    with pytest.raises(ValueError, match=f'environment variable key "K" not found in file "{volume}/other"'):
        await get("other")
    # Without its gate the source counts for nothing.
    assert await get("missing", env_files=False) == {"X": ""}
