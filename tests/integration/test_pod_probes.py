"""Probes by all four mechanisms and lifecycle hooks, on the real runtime."""

import ssl
import time
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest
import pytest_asyncio
import trustme
from aiohttp import web
from tests.integration.killed_node import container, exec_hook
from tests.integration.node import pod, running_node

from pykubelet.cri.types import ContainerState
from pykubelet.rpc._gen import health_pb2

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Serves the directory ``/tmp`` of its container.
SERVER = "trap 'exit 0' TERM; httpd -f -p 8080 -h /tmp & wait $!"
FAST = {"periodSeconds": 1, "failureThreshold": 1}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(containerd, tmp_path_factory):
    async with running_node(tmp_path_factory.mktemp("probes"), containerd) as made:
        yield made


@asynccontextmanager
async def web_server(tls=None):
    """An HTTP server on the host's loopback; its port, and the paths that it was asked for."""
    asked: list[str] = []

    async def answer(request):
        asked.append(request.path)
        if request.path == "/away":
            raise web.HTTPFound("http://elsewhere.test/")
        status = "200" if request.headers.get("X-Who") != "nobody" else "403"
        return web.Response(status=int(request.query.get("status", status)))

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1], asked
    finally:
        await runner.cleanup()


@asynccontextmanager
async def health_server():
    """A gRPC health service on the host; its port, and what it says of each service."""
    states = {"": health_pb2.HealthCheckResponse.SERVING}

    async def check(request, context):
        if request.service not in states:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return health_pb2.HealthCheckResponse(status=states[request.service])

    handler = grpc.unary_unary_rpc_method_handler(
        check,
        request_deserializer=health_pb2.HealthCheckRequest.FromString,
        response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler})]
    )
    port = server.add_insecure_port("0.0.0.0:0")
    await server.start()
    try:
        yield port, states
    finally:
        await server.stop(None)


async def test_readiness_by_exec_http_tcp_and_grpc(node):
    async with health_server() as (port, states):
        states["later"] = health_pb2.HealthCheckResponse.NOT_SERVING
        node.apply(
            pod(
                "rexec",
                container("app", readinessProbe={"exec": {"command": ["test", "-e", "/tmp/r"]}, **FAST}),
            ),
            pod(
                "rhttp",
                container(
                    "app",
                    SERVER,
                    ports=[{"name": "web", "containerPort": 8080}],
                    readinessProbe={"httpGet": {"path": "/r", "port": "web"}, **FAST},
                ),
            ),
            pod("rtcp", container("app", readinessProbe={"tcpSocket": {"port": 9090}, **FAST})),
            pod(
                "rgrpc",
                container("app", readinessProbe={"grpc": {"port": port, "service": "later"}, **FAST}),
                hostNetwork=True,
            ),
        )
        names = ("rexec", "rhttp", "rtcp", "rgrpc")
        await node.until(lambda: all(node.events(name, "Unhealthy") for name in names))
        for name in names:
            assert node.runs(name)
            assert not node.ready(name)
        conditions = {c.type: c for c in node.status("rexec").conditions}
        assert conditions["Ready"].message == "containers with unready status: [app]"
        texts = {name: node.events(name, "Unhealthy")[0].text for name in names}
        address = node.status("rtcp").podIP
        assert texts["rexec"] == "Readiness probe failed: "
        assert texts["rhttp"] == "Readiness probe failed: HTTP probe failed with statuscode: 404"
        assert texts["rtcp"] == (
            f"Readiness probe failed: dial tcp {address}:9090: connect: connection refused"
        )
        assert texts["rgrpc"] == 'Readiness probe failed: service unhealthy (responded with "NOT_SERVING")'
        states["later"] = health_pb2.HealthCheckResponse.SERVING
        await node.exec("rexec", "touch /tmp/r")
        await node.exec("rhttp", "touch /tmp/r")
        await node.exec("rtcp", "httpd -p 9090 -h /tmp")
        await node.until(lambda: node.ready(*names), 8)
        await node.exec("rexec", "rm /tmp/r")
        await node.until(lambda: not node.ready("rexec"), 5)
        assert node.restarts("rexec") == 0
        await node.delete(*names)


async def test_https_headers_redirects_and_what_is_counted(node):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("another.name").configure_cert(tls)
    async with web_server(tls) as (secure, _), web_server() as (plain, asked):

        def get(port, path="/", **fields):
            return {"httpGet": {"host": "127.0.0.1", "port": port, "path": path, **fields}}

        nobody = [{"name": "x-who", "value": "nobody"}]
        node.apply(
            pod(
                "web",
                container(
                    "app",
                    readinessProbe={**get(secure, scheme="HTTPS"), **FAST},
                    livenessProbe={**get(plain, "/away"), **FAST},
                    # A server that speaks no TLS is asked once more in the open.
                    lifecycle={"postStart": get(plain, "/hook", scheme="HTTPS")},
                ),
                container("shut", readinessProbe={**get(plain, httpHeaders=nobody), **FAST}),
            )
        )
        await node.until(lambda: node.events("web", "ProbeWarning") and node.events("web", "Unhealthy"))
        await node.until(lambda: (app := node.container("web")) and app.ready)
        moved = node.events("web", "ProbeWarning")[0].text
        assert moved == "Liveness probe warning: Probe terminated redirects, Response body: 302: Found"
        refused = node.events("web", "Unhealthy")[0].text
        assert refused == "Readiness probe failed: HTTP probe failed with statuscode: 403"
        assert node.restarts("web") == 0
        assert "/hook" in asked
        assert node.events("web", "LifecycleHTTPFallback")[0].text == (
            f"request to HTTPS lifecycle hook 127.0.0.1:{plain} got HTTP response, retry with HTTP succeeded"
        )
        of_pod = f'namespace="default",pod="{node.full("web")}",pod_uid="{node.uid("web")}"'

        def counted():
            return node.kubelet.api.probe_metrics().decode()

        for container_name, kind, result in (
            ("app", "Liveness", "successful"),
            ("app", "Readiness", "successful"),
            ("shut", "Readiness", "failed"),
        ):
            labels = f'container="{container_name}",{of_pod},probe_type="{kind}",result="{result}"'
            assert f"prober_probe_total{{{labels}}} " in counted()
        assert "\nprocess_start_time_seconds 1" in counted()
        await node.delete("web")
        assert "pod_uid" not in counted()


async def test_liveness_restarts(node):
    async with health_server() as (port, states):
        node.apply(
            pod(
                "lexec",
                container(
                    "app",
                    "touch /tmp/l; trap 'exit 0' TERM; while :; do sleep 0.2; done",
                    livenessProbe={"exec": {"command": ["test", "-e", "/tmp/l"]}, **FAST},
                    startupProbe={"exec": {"command": ["test", "-e", "/tmp/l"]}, "periodSeconds": 1},
                ),
            ),
            pod(
                "lgrpc",
                # Deaf to SIGTERM: the probe's own grace counts, not the pod's.
                container(
                    "app",
                    "trap '' TERM; while :; do sleep 0.2; done",
                    livenessProbe={"grpc": {"port": port}, "terminationGracePeriodSeconds": 1, **FAST},
                ),
                hostNetwork=True,
                grace=60,
            ),
            pod(
                "lnever",
                container("app", livenessProbe={"exec": {"command": ["false"]}, **FAST}),
                restartPolicy="Never",
            ),
        )
        await node.until(lambda: node.ready("lexec", "lgrpc"))
        await node.exec("lexec", "rm /tmp/l")
        states[""] = health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("lexec", "lgrpc"):
            await node.until(lambda name=name: node.restarts(name) == 1, 12)
            texts = [e.text for e in node.events(name, "Killing")]
            assert texts == ["Container app failed liveness probe, will be restarted"]
            assert node.events(name, "Unhealthy")[0].text.startswith("Liveness probe failed: ")
        states[""] = health_pb2.HealthCheckResponse.SERVING
        await node.until(lambda: node.ready("lexec", "lgrpc"))
        await node.until(lambda: node.phase("lnever") in {"Succeeded", "Failed"})
        assert node.restarts("lnever") == 0
        # Nothing is left to run, so the pod is ended as a whole.
        assert [e.text for e in node.events("lnever", "Killing")] == ["Stopping container app"]
        # The deaf one would take its minute.
        node.remove("lexec", "lnever", "lgrpc")
        uid = node.uid("lgrpc")
        await node.gone("lexec", "lnever")
        found = await node.cri.list_containers(
            labels={"io.kubernetes.pod.uid": uid}, state=ContainerState.RUNNING
        )
        await node.cri.stop_container(found[0].id, 0)
        await node.gone("lgrpc")


async def test_startup_gates_the_other_probes(node):
    startup = {"exec": {"command": ["test", "-e", "/tmp/s"]}, "periodSeconds": 1, "failureThreshold": 30}
    node.apply(
        pod(
            "gated",
            container(
                "app",
                startupProbe=startup,
                livenessProbe={"exec": {"command": ["test", "-e", "/tmp/s"]}, **FAST},
                readinessProbe={"exec": {"command": ["true"]}, **FAST},
            ),
        ),
        pod("never-up", container("app", startupProbe={**startup, "failureThreshold": 2})),
    )
    await node.until(lambda: node.restarts("never-up") == 1, 12, "never-up")
    assert [e.text for e in node.events("never-up", "Killing")] == [
        "Container app failed startup probe, will be restarted"
    ]
    app = node.container("gated")
    assert (app.started, app.ready, app.restartCount) == (False, False, 0)
    await node.exec("gated", "touch /tmp/s")
    await node.until(lambda: node.ready("gated"), 5)
    assert node.container("gated").started is True
    await node.delete("gated", "never-up")


async def test_hooks_run(node):
    async with web_server() as (port, asked):
        diary = node.base / "hooks"
        diary.mkdir()
        mount = {"volumeMounts": [{"name": "diary", "mountPath": "/diary"}]}
        volume = {"name": "diary", "hostPath": {"path": str(diary)}}

        def http(path):
            return {"httpGet": {"host": "127.0.0.1", "port": port, "path": path}}

        node.apply(
            pod(
                "hooked",
                container(
                    "app",
                    "trap 'echo term >> /diary/log; exit 0' TERM; while :; do sleep 1000 & wait $!; done",
                    lifecycle={
                        "postStart": exec_hook("echo post >> /diary/log"),
                        "preStop": exec_hook("sleep 0.5; echo pre >> /diary/log"),
                    },
                    **mount,
                ),
                container("web", lifecycle={"postStart": http("/post"), "preStop": http("/pre?status=500")}),
                container("slow", lifecycle={"preStop": {"sleep": {"seconds": 2}}}),
                volumes=[volume],
                grace=10,
            )
        )
        await node.until(lambda: node.ready("hooked"))
        assert (diary / "log").read_text().split() == ["post"]
        assert asked == ["/post"]
        began = time.monotonic()
        await node.delete("hooked")
        assert 2 <= time.monotonic() - began < 5
        assert (diary / "log").read_text().split() == ["post", "pre", "term"]
        # Whatever a server answers, it was told.
        assert asked == ["/post", "/pre"]
        assert node.events("hooked", "FailedPreStopHook") == []


async def test_failing_hooks_are_told(node):
    node.apply(
        pod("badpost", container("app", lifecycle={"postStart": exec_hook("echo why; exit 3")})),
        pod("badpre", container("app", lifecycle={"preStop": exec_hook("exit 4")})),
        pod("longpre", container("app", lifecycle={"preStop": exec_hook("sleep 60")}), grace=2),
    )
    await node.until(lambda: node.ready("badpre", "longpre"))
    await node.until(lambda: node.events("badpost", "FailedPostStartHook"))
    await node.until(
        lambda: (w := node.waiting("badpost")) and w.reason in {"PostStartHookError", "CrashLoopBackOff"}
    )
    assert node.events("badpost", "FailedPostStartHook")[0].text == "PostStartHook failed"
    assert node.events("badpost", "Killing")[0].text == "FailedPostStartHook"
    assert node.phase("badpost") != "Succeeded"
    began = time.monotonic()
    node.remove("badpost", "badpre", "longpre")
    await node.gone("badpre", "badpost")
    assert [e.text for e in node.events("badpre", "FailedPreStopHook")] == ["PreStopHook failed"]
    await node.gone("longpre")
    # A hook that never ends takes the grace, and the least for the signal after it.
    assert 2 <= time.monotonic() - began < 6.5
