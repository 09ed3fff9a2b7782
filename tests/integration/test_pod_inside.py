"""What a pod's processes see and get on the real runtime: environment, namespaces, users, files, limits."""

import asyncio
import os
import stat
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from msgspec import UNSET
from tests.integration.killed_node import FOREVER, container
from tests.integration.node import pod, running_node

from pykubelet.linux.cgroup_discovery import discover

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(containerd, tmp_path_factory):
    async with running_node(tmp_path_factory.mktemp("inside"), containerd) as made:
        yield made


async def ended(node, *names):
    """Wait until the pods have succeeded; what each one's container wrote."""
    await node.until(lambda: all(node.phase(name) in {"Succeeded", "Failed"} for name in names))
    return [node.log(name) for name in names]


def field(path):
    return {"valueFrom": {"fieldRef": {"fieldPath": path}}}


def resource(name, divisor="1"):
    return {"valueFrom": {"resourceFieldRef": {"resource": name, "divisor": divisor}}}


async def test_command_arguments_and_environment(node):
    manifest = pod(
        "env",
        {
            **container("app"),
            "command": ["sh", "-c", 'echo "$0 $1 $2"; pwd; env', "$(GREETING)"],
            "args": ["$(UNKNOWN)", "$$(GREETING)"],
            "workingDir": "/var/www",
            "env": [
                {"name": "WHO", "value": "world"},
                {"name": "GREETING", "value": "hello $(WHO)"},
                {"name": "NAME", **field("metadata.name")},
                {"name": "UID", **field("metadata.uid")},
                {"name": "TIER", **field("metadata.labels['tier']")},
                {"name": "NODE", **field("spec.nodeName")},
                {"name": "HOST_IP", **field("status.hostIP")},
                {"name": "POD_IP", **field("status.podIP")},
                {"name": "CPU", **resource("limits.cpu", "1m")},
                {"name": "MEMORY", **resource("requests.memory", "1Mi")},
            ],
            "resources": {"limits": {"cpu": "250m", "memory": "32Mi"}, "requests": {"memory": "16Mi"}},
        },
        restartPolicy="Never",
    )
    manifest["metadata"]["labels"] = {"tier": "one"}
    node.apply(manifest)
    lines = (await ended(node, "env"))[0].splitlines()
    assert lines[:2] == ["hello world $(UNKNOWN) $(GREETING)", "/var/www"]
    found = dict(line.split("=", 1) for line in lines[2:])
    status = node.status("env")
    assert found["GREETING"] == "hello world"
    assert found["NAME"] == node.full("env")
    assert found["UID"] == node.uid("env")
    assert (found["TIER"], found["NODE"]) == ("one", node.name)
    assert (found["HOST_IP"], found["CPU"], found["MEMORY"]) == (status.hostIP, "250", "16")
    assert found["POD_IP"].count(".") == 3
    assert found["HOSTNAME"] == node.full("env")
    await node.delete("env")


async def test_variables_from_a_file(node):
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}

    def key(name, key, path="conf/env", **more):
        ref = {"volumeName": "shared", "path": path, "key": key, **more}
        return {"name": name, "valueFrom": {"fileKeyRef": ref}}

    write = "mkdir /shared/conf; printf \"%s\\n\" '# ours' \"ONE='first'\" \"TWO='of two\nlines' # so\" "
    variables = [
        key("ONE", "ONE"),
        key("TWO", "TWO"),
        {"name": "BOTH", "value": "$(ONE) and $(TWO)"},
        key("NONE", "NONE", optional=True),
        key("NO_FILE", "ONE", path="none", optional=True),
    ]
    shared = {"volumes": [{"name": "shared", "emptyDir": {}}], "restartPolicy": "Never"}
    init = container("write", f"{write} > /shared/conf/env", **mount)
    node.apply(
        pod("filed", container("app", "env", env=variables), initContainers=[init], **shared),
        pod("filed-wrong", container("app", env=[key("X", "X")]), initContainers=[init], **shared),
    )
    [said] = await ended(node, "filed")
    for wanted in ("ONE=first", "TWO=of two\nlines", "BOTH=first and of two\nlines"):
        assert f"\n{wanted}\n" in f"\n{said}\n"
    assert "NONE=" not in said
    assert "NO_FILE=" not in said
    waiting = await node.until(lambda: (w := node.waiting("filed-wrong")) and w.message and w)
    assert waiting.reason == "CreateContainerConfigError"
    place = node.layout.pod_volume(node.uid("filed-wrong"), "kubernetes.io/empty-dir", "shared")
    assert waiting.message == f'environment variable key "X" not found in file "{place}/conf/env"'
    await node.delete("filed", "filed-wrong")


async def test_namespaces(node):
    def spaces(kind):
        return os.readlink(f"/proc/self/ns/{kind}")

    node.apply(
        pod("own", container("app"), container("other")),
        pod("hostnet", container("app"), hostNetwork=True),
        pod("hostpid", container("app"), hostPID=True),
        pod("hostipc", container("app"), hostIPC=True),
        pod("shared", container("app"), container("other"), shareProcessNamespace=True),
    )
    names = ("own", "hostnet", "hostpid", "hostipc", "shared")
    await node.until(lambda: node.ready(*names))

    async def inside(name, kind, app="app"):
        return await node.exec(name, f"readlink /proc/self/ns/{kind}", app)

    for kind in ("net", "pid", "ipc", "uts"):
        assert await inside("own", kind) != spaces(kind)
    assert await inside("own", "net") == await inside("own", "net", "other")
    assert await inside("own", "ipc") == await inside("own", "ipc", "other")
    assert await inside("own", "pid") != await inside("own", "pid", "other")
    assert await inside("hostnet", "net") == spaces("net")
    assert await inside("hostnet", "pid") != spaces("pid")
    assert await inside("hostpid", "pid") == spaces("pid")
    assert await inside("hostipc", "ipc") == spaces("ipc")
    assert await inside("shared", "pid") == await inside("shared", "pid", "other")
    assert "tini" in await node.exec("shared", "tr '\\0' ' ' < /proc/1/cmdline")
    status = node.status("hostnet")
    assert status.podIP == status.hostIP
    assert await node.exec("hostnet", "hostname") == os.uname().nodename
    await node.delete(*names)


async def test_security_context(node):
    def caps(**fields):
        return {"securityContext": fields}

    show = "id -u; id -g; id -G; grep -E 'CapEff|NoNewPrivs' /proc/self/status; touch /x 2>&1; echo $?; "
    show += FOREVER
    node.apply(
        pod(
            "user",
            container("app", show, **caps(readOnlyRootFilesystem=True)),
            securityContext={
                "runAsUser": 1000,
                "runAsGroup": 2000,
                "supplementalGroups": [3000],
                "fsGroup": 4000,
            },
        ),
        pod("privileged", container("app", show, **caps(privileged=True))),
        pod(
            "capable",
            container(
                "app",
                show,
                **caps(
                    capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
                    allowPrivilegeEscalation=False,
                ),
            ),
        ),
        pod("nonroot", container("app", show, **caps(runAsNonRoot=True))),
    )
    await node.until(lambda: node.ready("user", "privileged", "capable"))
    await node.until(lambda: len(node.log("user").split()) > 8)
    lines = node.log("user").splitlines()
    assert lines[:2] == ["1000", "2000"]
    assert set(lines[2].split()) == {"2000", "3000", "4000"}
    assert "Read-only file system" in lines[-2]
    assert lines[-1] == "1"
    everything = node.log("privileged").split()
    own = Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0]
    assert everything[everything.index("CapEff:") + 1] == own
    capable = node.log("capable").split()
    assert int(capable[capable.index("CapEff:") + 1], 16) == 1 << 10
    assert capable[capable.index("NoNewPrivs:") + 1] == "1"
    waiting = await node.until(lambda: node.waiting("nonroot"))
    assert waiting.reason == "CreateContainerConfigError"
    assert waiting.message.startswith("container has runAsNonRoot and image will run as root (pod: ")
    await node.delete("user", "privileged", "capable", "nonroot")


async def test_names_and_addresses(node):
    dns = {
        "nameservers": ["192.0.2.53"],
        "searches": ["a.test", "b.test"],
        "options": [{"name": "ndots", "value": "3"}],
    }
    node.apply(
        pod(
            "named",
            container("app"),
            hostname="alpha",
            subdomain="sub",
            hostAliases=[{"ip": "192.0.2.7", "hostnames": ["seven", "sieben"]}],
            dnsPolicy="None",
            dnsConfig=dns,
        ),
        pod("default", container("app"), dnsPolicy="Default"),
        pod("hosts-host", container("app"), hostNetwork=True),
    )
    await node.until(lambda: node.ready("named", "default", "hosts-host"))
    hosts = (await node.exec("named", "cat /etc/hosts")).splitlines()
    address = node.status("named").podIP
    assert hosts[0] == "# Kubernetes-managed hosts file."
    assert "127.0.0.1\tlocalhost" in hosts
    assert (
        f"{address}\talpha.sub.default.svc.{node.kubelet.ground.loaded.config.clusterDomain}\talpha" in hosts
    )
    assert hosts[-3:] == ["", "# Entries added by HostAliases.", "192.0.2.7\tseven\tsieben"]
    assert await node.exec("named", "hostname") == "alpha"
    assert (await node.exec("named", "cat /etc/resolv.conf")).splitlines() == [
        "search a.test b.test",
        "nameserver 192.0.2.53",
        "options ndots:3",
    ]
    resolver = Path("/etc/resolv.conf").read_text().splitlines()
    own = [line for line in resolver if line.startswith("nameserver")]
    there = (await node.exec("default", "cat /etc/resolv.conf")).splitlines()
    assert [line for line in there if line.startswith("nameserver")] == own[:3]
    shared = await node.exec("hosts-host", "cat /etc/hosts")
    assert shared.startswith("# Kubernetes-managed hosts file (host network).\n")
    assert Path("/etc/hosts").read_text().strip() in shared
    await node.delete("named", "default", "hosts-host")


async def test_volumes(node):
    place = node.base / "place"
    (place / "there").mkdir(parents=True)
    (place / "there" / "file").write_text("from the host\n")

    def mount(name, path, **fields):
        return {"name": name, "mountPath": path, **fields}

    def host(name, path, kind=""):
        return {"name": name, "hostPath": {"path": str(place / path), "type": kind}}

    both = {
        "volumeMounts": [
            mount("disk", "/disk"),
            mount("ram", "/ram"),
            mount("made", "/made"),
            mount("there", "/there", readOnly=True),
            mount("one", "/one"),
            mount("disk", "/sub", subPath="deep/er"),
            mount("there", "/only-file", subPath="file"),
        ]
    }
    node.apply(
        pod(
            "volumes",
            container("app", **both),
            container("other", **both),
            volumes=[
                {"name": "disk", "emptyDir": {}},
                {"name": "ram", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                host("made", "made", "DirectoryOrCreate"),
                host("there", "there", "Directory"),
                host("one", "one", "FileOrCreate"),
            ],
            securityContext={"fsGroup": 4321},
        ),
        pod(
            "wrongtype",
            container("app", volumeMounts=[mount("gone", "/gone")]),
            volumes=[host("gone", "nowhere", "Directory")],
        ),
    )
    await node.until(lambda: node.ready("volumes"))
    await node.exec(
        "volumes", "echo one > /disk/x; echo two > /ram/x; echo three > /made/x; echo four > /sub/x"
    )
    assert await node.exec("volumes", "cat /disk/x /ram/x /disk/deep/er/x", "other") == "one\ntwo\nfour"
    assert (place / "made" / "x").read_text() == "three\n"
    assert stat.S_ISREG((place / "one").stat().st_mode)
    assert await node.exec("volumes", "cat /only-file /there/file") == "from the host\nfrom the host"
    assert "Read-only" in await node.exec("volumes", "touch /there/x 2>&1; true")
    assert await node.exec("volumes", "stat -c %g /disk /ram") == "4321\n4321"
    assert await node.exec("volumes", "stat -f -c %T /ram") == "tmpfs"
    assert "No space" in await node.exec("volumes", "dd if=/dev/zero of=/ram/big bs=1M count=2 2>&1; true")
    event = await node.until(lambda: node.events("wrongtype", "FailedMount"))
    assert f"hostPath type check failed: {place}/nowhere is not a directory" in event[0].text
    assert node.waiting("wrongtype").reason == "ContainerCreating"
    node.remove("wrongtype")
    uid = node.uid("volumes")
    await node.delete("volumes")
    await node.gone("wrongtype")
    assert not node.layout.pod(uid).exists()
    assert (place / "made" / "x").read_text() == "three\n"


async def test_logs_and_termination_messages(node):
    fallback = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    node.apply(
        pod("message", container("app", "echo out; echo err >&2; echo why > /dev/termination-log; exit 3"),
            restartPolicy="Never"),
        pod("elsewhere", container("app", "echo there > /tmp/m; exit 0", terminationMessagePath="/tmp/m"),
            restartPolicy="Never"),
        pod("fallback", container("app", "echo last words; exit 4", **fallback), restartPolicy="Never"),
        pod("no-fallback", container("app", "echo all well; exit 0", **fallback), restartPolicy="Never"),
        pod("long", container("app", "yes | head -c 9000 > /dev/termination-log"), restartPolicy="Never"),
    )  # fmt: skip
    names = ("message", "elsewhere", "fallback", "no-fallback", "long")
    await ended(node, *names)
    assert [node.terminated(name).message for name in names[:4]] == [
        "why\n",
        "there\n",
        "last words\n",
        UNSET,
    ]
    assert len(node.terminated("long").message) == 4096
    meta = node.pod("message").metadata
    directory = node.layout.pod_logs / f"default_{meta.name}_{meta.uid}"
    log = directory / "app" / "0.log"
    lines = log.read_text().splitlines()
    assert sorted(line.split(" ", 1)[1] for line in lines) == ["stderr F err", "stdout F out"]
    link = node.layout.container_log_links / f"{meta.name}_default_app-{node.container_id('message')}.log"
    assert os.readlink(link) == str(log)
    await node.delete(*names)
    await node.until(lambda: not directory.exists() and not link.is_symlink())


async def test_limits_in_the_cgroups(node):
    fs = await asyncio.to_thread(discover)
    if fs.version != 1:
        pytest.skip("needs cgroup v1")

    def read(controller, cgroup, file):
        return (fs.path(controller, cgroup) / file).read_text().strip()

    limits = {"cpu": "500m", "memory": "64Mi"}
    node.apply(
        pod("guaranteed", container("app", resources={"limits": limits})),
        pod(
            "burstable",
            container("app", resources={"requests": {"cpu": "250m", "memory": "32Mi"}, "limits": limits}),
            container("other", resources={"requests": {"cpu": "100m"}}),
        ),
        pod("besteffort", container("app")),
    )
    names = ("guaranteed", "burstable", "besteffort")
    await node.until(lambda: node.ready(*names))
    tops = dict(zip(names, ("", "/burstable", "/besteffort"), strict=True))
    pods = {n: f"{node.cgroup_root}/kubepods{tops[n]}/pod{node.uid(n)}" for n in names}
    # CRI-O puts its name before the ID.
    before = "crio-" if node.kubelet.runtime.view.name == "cri-o" else ""
    inner = {n: f"{pods[n]}/{before}{node.container_id(n)}" for n in names}
    classes = [node.status(name).qosClass for name in names]
    assert classes == ["Guaranteed", "Burstable", "BestEffort"]

    def of(cgroup):
        return tuple(
            read(*what)
            for what in (
                ("cpu", cgroup, "cpu.shares"),
                ("cpu", cgroup, "cpu.cfs_quota_us"),
                ("memory", cgroup, "memory.limit_in_bytes"),
            )
        )

    unlimited = read("memory", "/", "memory.limit_in_bytes")
    assert of(pods["guaranteed"]) == of(inner["guaranteed"]) == ("512", "50000", str(64 << 20))
    assert of(inner["burstable"]) == ("256", "50000", str(64 << 20))
    # One container without limits: the pod as a whole has none.
    assert of(pods["burstable"]) == ("358", "-1", unlimited)
    assert of(pods["besteffort"]) == of(inner["besteffort"]) == ("2", "-1", unlimited)
    kubepods = f"{node.cgroup_root}/kubepods"
    assert read("cpu", f"{kubepods}/besteffort", "cpu.shares") == "2"
    await node.until(lambda: read("cpu", f"{kubepods}/burstable", "cpu.shares") == "358")
    # Without CAP_SYS_RESOURCE no process gets less than containerd's own.
    scores = {n: int(await node.exec(n, "cat /proc/1/oom_score_adj")) for n in names}
    capacity = node.kubelet.node.info.memory_capacity
    wanted = 1000 - 1000 * (32 << 20) // capacity
    assert scores["besteffort"] == 1000
    assert scores["burstable"] == max(3, min(wanted, 999))
    assert scores["guaranteed"] <= 0
    assert await node.exec("burstable", "cat /proc/1/oom_score_adj", "other") == "999"
    running = node.container("guaranteed")
    assert {k: str(v) for k, v in running.resources.limits.items()} == limits
    await node.delete(*names)
    await node.until(lambda: read("cpu", f"{kubepods}/burstable", "cpu.shares") == "2")


async def test_too_much_memory_is_oomkilled(node):
    eat = "x=a; while :; do x=$x$x; done"
    limits = {"limits": {"memory": "16Mi"}}
    node.apply(pod("greedy", container("app", eat, resources=limits), restartPolicy="Never"))
    await node.until(lambda: node.terminated("greedy"))
    assert node.terminated("greedy").reason == "OOMKilled"
    assert node.phase("greedy") == "Failed"
    await node.delete("greedy")


async def test_subpath_expressions_and_host_ports(node):
    place = node.base / "expr"
    place.mkdir()
    mount = {"name": "place", "mountPath": "/out", "subPathExpr": "$(NAME)/logs"}
    node.apply(
        pod(
            "expr",
            container(
                "app",
                "echo hi > /out/x; echo page > /tmp/index.html; "
                "trap 'exit 0' TERM; httpd -f -p 80 -h /tmp & wait $!",
                env=[{"name": "NAME", **field("metadata.name")}],
                volumeMounts=[mount],
                ports=[{"containerPort": 80, "hostPort": 18099}],
            ),
            volumes=[{"name": "place", "hostPath": {"path": str(place)}}],
        ),
        pod(
            "escape",
            container("app", volumeMounts=[{**mount, "subPathExpr": "", "subPath": "link/x"}]),
            volumes=[{"name": "place", "hostPath": {"path": str(place)}}],
        ),
    )
    (place / "link").symlink_to("/etc")
    await node.until(lambda: node.ready("expr"))
    await node.until(lambda: (place / node.full("expr") / "logs" / "x").exists())
    async with aiohttp.ClientSession() as session:
        # By its own address, and by the node's and the host port.
        for address in (node.status("expr").podIP, f"{node.status('expr').hostIP}:18099"):
            async with session.get(f"http://{address}/") as answer:
                assert await answer.text() == "page\n"
    waiting = await node.until(lambda: (w := node.waiting("escape")) and w.message and w)
    assert waiting.reason == "CreateContainerConfigError"
    assert not (place / "link" / "x").exists()
    await node.delete("expr", "escape")
