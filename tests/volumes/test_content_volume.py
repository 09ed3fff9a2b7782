import os
import stat
from datetime import UTC, datetime, timedelta

import pytest

from pykubelet.api.auth import TokenRequest, TokenRequestStatus
from pykubelet.api.core import Container, Pod, PodSecurityContext, PodSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.objects import ConfigMap, Secret
from pykubelet.api.volumes import (
    ClusterTrustBundleProjection,
    ConfigMapVolumeSource,
    DownwardAPIVolumeFile,
    DownwardAPIVolumeSource,
    ObjectFieldSelector,
    ProjectedVolumeSource,
    SecretVolumeSource,
    ServiceAccountTokenProjection,
    Volume,
    VolumeMount,
    VolumeProjection,
)
from pykubelet.base.clock import ManualClock
from pykubelet.base.errors import VolumeError
from pykubelet.base.layout import Layout
from pykubelet.linux import mountinfo, mounts
from pykubelet.volumes.content_volume import Content, content_volumes
from pykubelet.volumes.doors import Feeds
from pykubelet.volumes.payload import File

MIB = 1 << 20
NOW = 1_795_000_000_123_456_789


class Cluster:
    """Objects and tokens, as a test has them."""

    def __init__(self):
        self.maps, self.secrets = {}, {}
        self.error = None
        self.asked, self.forgotten = [], []
        self.refresh = {}

    async def config_map(self, namespace, name):
        self.asked.append((namespace, name))
        if self.error is not None:
            raise self.error
        return self.maps.get(name)

    async def secret(self, namespace, name):
        self.asked.append((namespace, name))
        return self.secrets.get(name)

    async def token(self, namespace, service_account, request):
        self.asked.append((namespace, service_account))
        return TokenRequest(status=TokenRequestStatus(token=f"token-for-{request.spec.audiences}"))

    def refresh_at(self, namespace, service_account, request):
        return self.refresh.get((request.spec.audiences or [""])[0])

    def forget_pod(self, uid):
        self.forgotten.append(uid)


MAP = Volume(name="v", configMap=ConfigMapVolumeSource(name="settings", defaultMode=0o644))
SECRET = Volume(name="v", secret=SecretVolumeSource(secretName="keys", defaultMode=0o400))
DOWNWARD = Volume(
    name="v",
    downwardAPI=DownwardAPIVolumeSource(
        items=[DownwardAPIVolumeFile(path="name", fieldRef=ObjectFieldSelector(fieldPath="metadata.name"))],
        defaultMode=0o644,
    ),
)


def token(path, audience=""):
    return VolumeProjection(
        serviceAccountToken=ServiceAccountTokenProjection(path=path, audience=audience, expirationSeconds=600)
    )


PROJECTED = Volume(
    name="v",
    projected=ProjectedVolumeSource(sources=[token("a"), token("b", "vault")], defaultMode=0o644),
)
VOLUMES = {"configMap": MAP, "secret": SECRET, "downwardAPI": DOWNWARD, "projected": PROJECTED}


def pod_of(group=None, **mounted):
    found = [VolumeMount(name=name, mountPath=path) for name, path in mounted.items()]
    return Pod(
        metadata=ObjectMeta(name="web", namespace="shop", uid="uid-1"),
        spec=PodSpec(
            serviceAccountName="robot",
            containers=[Container(name="box", volumeMounts=found)],
            securityContext=PodSecurityContext(fsGroup=group),
        ),
    )


@pytest.fixture
def cluster():
    made = Cluster()
    made.maps["settings"] = ConfigMap(data={"a": "1"})
    made.secrets["keys"] = Secret(data={"key": b"hush"})
    return made


def plugins(root, cluster=None):
    feeds = Feeds(objects=cluster, tokens=cluster) if cluster is not None else Feeds()
    made = content_volumes(Layout(root=root), ManualClock(), feeds, lambda: MIB)
    return {plugin.kind: plugin for plugin in made}


def content(**files):
    return Content({name: File(text.encode(), 0o400) for name, text in files.items()}, NOW)


async def test_contents_are_gathered_from_the_pods_namespace(tmp_path, cluster):
    found = plugins(tmp_path, cluster)
    gathered = {
        kind: {path: file.data for path, file in (await found[kind].gather(pod_of(), volume)).files.items()}
        for kind, volume in VOLUMES.items()
    }
    assert gathered == {
        "configMap": {"a": b"1"},
        "secret": {"key": b"hush"},
        "downwardAPI": {"name": b"web"},
        "projected": {"a": b"token-for-None", "b": b"token-for-['vault']"},
    }
    assert set(cluster.asked) == {("shop", "settings"), ("shop", "keys"), ("shop", "robot")}


async def test_the_first_token_to_age_says_when_to_look_again(tmp_path, cluster):
    plugin = plugins(tmp_path, cluster)["projected"]
    assert (await plugin.gather(pod_of(), PROJECTED)).refresh_at is None
    soon = datetime(2026, 1, 1, tzinfo=UTC)
    cluster.refresh = {"": soon + timedelta(hours=1), "vault": soon}
    assert (await plugin.gather(pod_of(), PROJECTED)).refresh_at == soon


class Bundles:
    def __init__(self):
        self.answers = {"root": b"PEM"}

    async def anchors(self, source):
        if source.name not in self.answers:
            raise LookupError("no such bundle")
        return self.answers[source.name]


def bundle(path, name, *, optional=None):
    source = ClusterTrustBundleProjection(path=path, name=name, optional=optional)
    return VolumeProjection(clusterTrustBundle=source)


async def test_trust_bundles_are_asked_for_where_there_are_any(tmp_path, cluster):
    feeds = Feeds(objects=cluster, tokens=cluster, bundles=Bundles())
    clock = ManualClock()
    plugin = content_volumes(Layout(root=tmp_path), clock, feeds, lambda: MIB)[-1]
    sources = [bundle("ca", "root"), token("t"), bundle("again", "root")]
    volume = Volume(name="v", projected=ProjectedVolumeSource(sources=sources, defaultMode=0o644))
    gathered = await plugin.gather(pod_of(group=5), volume)
    assert gathered.files["ca"] == gathered.files["again"] == File(b"PEM", 0o600)
    # No change is told: they are asked for again as often as a pod is synced.
    assert gathered.refresh_at == clock.now() + timedelta(minutes=1)
    volume.projected.sources.append(bundle("more", "none", optional=True))
    with pytest.raises(VolumeError, match=r"^no such bundle$"):
        await plugin.gather(pod_of(), volume)


async def test_what_cannot_be_had_is_told(tmp_path, cluster):
    found = plugins(tmp_path, cluster)
    cluster.maps.clear()
    with pytest.raises(VolumeError, match=r'^configmap "settings" not found$'):
        await found["configMap"].gather(pod_of(), MAP)
    cluster.error = LookupError("the server is away")
    with pytest.raises(VolumeError, match=r"^the server is away$"):
        await found["configMap"].gather(pod_of(), MAP)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("configMap", "not supported due to running kubelet in standalone mode"),
        ("secret", "not supported due to running kubelet in standalone mode"),
        ("projected", "cannot use TokenManager when kubelet is in standalone mode"),
    ],
)
async def test_without_a_cluster(tmp_path, kind, text):
    with pytest.raises(VolumeError) as caught:
        await plugins(tmp_path)[kind].gather(pod_of(), VOLUMES[kind])
    assert str(caught.value) == text


def test_tokens_end_with_the_projected_volume(tmp_path, cluster):
    for plugin in plugins(tmp_path, cluster).values():
        plugin.gone("uid-1")
    assert cluster.forgotten == ["uid-1"]


def test_a_config_map_is_a_directory_on_disk(tmp_path):
    layout = Layout(root=tmp_path)
    plugin = plugins(tmp_path)["configMap"]
    path = layout.pods / "uid-1" / "volumes" / "kubernetes.io~configmap" / "v"
    marker = layout.pods / "uid-1" / "plugins" / "kubernetes.io~empty-dir" / "wrapped_v" / "ready"
    mounted, changed = plugin.set_up(pod_of(), MAP, content(a="1"))
    assert changed
    assert (mounted.host_path, mounted.read_only, mounted.selinux_relabel) == (str(path), True, True)
    assert marker.exists()
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    assert (path / "a").read_text() == "1"
    assert plugin.set_up(pod_of(), MAP, content(a="1")) == (mounted, False)
    assert plugin.set_up(pod_of(), MAP, content(a="2")) == (mounted, True)
    plugin.tear_down("uid-1", "v")
    plugin.tear_down("uid-1", "v")
    assert not path.exists()
    assert not marker.exists()


def test_the_group_may_read_and_no_more(tmp_path):
    plugin = plugins(tmp_path)["configMap"]
    mounted, _ = plugin.set_up(pod_of(group=77), MAP, content(a="1", other="2"))
    for path in ("a", "..data"):
        status = os.stat(f"{mounted.host_path}/{path}")
        assert status.st_gid == 77
    assert stat.S_IMODE(os.stat(f"{mounted.host_path}/a").st_mode) == 0o440
    assert stat.S_IMODE(os.stat(mounted.host_path).st_mode) == 0o2777
    assert stat.S_IMODE(os.stat(f"{mounted.host_path}/..data").st_mode) == 0o2755
    plugin.set_up(pod_of(group=77), MAP, content(a="3"))
    status = os.stat(f"{mounted.host_path}/a")
    assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (77, 0o440)


def test_a_path_that_is_refused_leaves_nothing(tmp_path):
    plugin = plugins(tmp_path)["configMap"]
    with pytest.raises(VolumeError, match="must not contain"):
        plugin.set_up(pod_of(), MAP, Content({"../../x": File(b"", 0o644)}, NOW))
    assert not (tmp_path / "pods").exists()


def test_places_for_mounts_inside_are_made(tmp_path):
    plugin = plugins(tmp_path)["configMap"]
    mounted, _ = plugin.set_up(pod_of(v="/etc/app", other="/etc/app/more"), MAP, content(a="1"))
    assert sorted(name for name in os.listdir(mounted.host_path) if not name.startswith("..")) == [
        "a",
        "more",
    ]


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["secret", "downwardAPI", "projected"])
def test_secrets_are_in_memory_only(mount_area, kind):
    plugin = plugins(mount_area)[kind]
    volume = VOLUMES[kind]
    mounted, _ = plugin.set_up(pod_of(), volume, content(a="1"))
    path = mounted.host_path
    found = mountinfo.mounts_below(mountinfo.read(), path)
    assert [(mount.mount_point, mount.fs_type) for mount in found] == [(path, "tmpfs")]
    status = os.statvfs(path)
    assert status.f_blocks * status.f_frsize == MIB
    version = os.readlink(f"{path}/..data")
    assert plugin.set_up(pod_of(), volume, content(a="1")) == (mounted, False)
    # A new life: what was there is taken over as it is.
    assert plugins(mount_area)[kind].set_up(pod_of(), volume, content(a="1")) == (mounted, False)
    assert os.readlink(f"{path}/..data") == version
    assert len(mountinfo.mounts_below(mountinfo.read(), path)) == 1
    # After a reboot the directory and the marker are there, the tmpfs is not.
    mounts.unmount(path)
    assert os.listdir(path) == []
    assert plugin.set_up(pod_of(), volume, content(a="1")) == (mounted, True)
    assert mounts.has_tmpfs(path)
    plugin.tear_down("uid-1", "v")
    assert mountinfo.mounts_below(mountinfo.read(), path) == ()
    assert not os.path.lexists(path)


@pytest.mark.integration
def test_a_volume_of_the_go_kubelet_is_taken_over(mount_area):
    layout = Layout(root=mount_area)
    path = layout.pod_volume("uid-1", "kubernetes.io/secret", "v")
    path.mkdir(parents=True)
    mounts.mount_tmpfs(str(path))
    ready = layout.pod_plugin("uid-1", "kubernetes.io/empty-dir", "wrapped_v")
    ready.mkdir(parents=True)
    (ready / "ready").touch()
    version = path / "..2026_01_02_03_04_05.123"
    version.mkdir()
    (version / "a").write_text("1")
    (path / "..data").symlink_to(version.name)
    (path / "a").symlink_to("..data/a")
    plugin = plugins(mount_area)["secret"]
    with open(path / "a") as reader:
        assert plugin.set_up(pod_of(), SECRET, content(a="1"))[1] is False
        assert plugin.set_up(pod_of(), SECRET, content(a="2"))[1] is True
        assert reader.read() == "1"
    assert not version.exists()
    plugin.tear_down("uid-1", "v")
    assert not path.exists()
    assert not ready.exists()
