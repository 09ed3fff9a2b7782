"""One attempt of a probe by each of the four mechanisms (core/v1 Probe)."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Mapping

import aiohttp
import grpc
import grpc.aio
from yarl import URL

from pykubelet.api.core import Container, GRPCAction, HTTPGetAction, Probe, TCPSocketAction
from pykubelet.base.expansion import expand_all
from pykubelet.base.gotext import format_duration
from pykubelet.cri.errors import CriError
from pykubelet.rpc._gen import health_pb2

from .types import ExecRunner, Finding, Found, ProbeError

#: Bytes of output that are kept, and of a response's body that are read.
OUTPUT_LIMIT = 10 * 1024
#: Redirects followed within the same host.
REDIRECTS = 10


class Handlers:
    """The four mechanisms; holds one HTTP client for all probes of the node."""

    def __init__(self, runner: ExecRunner, version: str) -> None:
        """*version* (``1.36``) goes into the user agent."""
        self._runner = runner
        self._agent = f"kube-probe/{version}"
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Let go of the HTTP client."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def attempt(self, probe: Probe, container: Container, container_id: str, ip: str) -> Finding:
        """One attempt, at most the probe's ``timeoutSeconds`` long.

        :raises ProbeError: nothing could be found out.
        """
        timeout = float(max(probe.timeoutSeconds, 1))
        if probe.exec is not None:
            return await self._exec(probe.exec.command, container, container_id, timeout)
        if probe.httpGet is not None:
            return await self._http(probe.httpGet, container, ip, timeout)
        if probe.tcpSocket is not None:
            return await _tcp(probe.tcpSocket, container, ip, timeout)
        if probe.grpc is not None:
            return await self._grpc(probe.grpc, ip, timeout)
        raise ProbeError(f"missing probe handler for {container.name}")

    # --- exec -----------------------------------------------------------------

    async def _exec(
        self, command: list[str], container: Container, container_id: str, timeout: float
    ) -> Finding:
        # Only literal variables are known without asking anybody.
        env: dict[str, str] = {v.name: v.value for v in container.env if v.valueFrom is None}
        try:
            result = await self._runner.exec_sync(container_id, expand_all(command, env), timeout)
        except CriError as error:
            if error.timeout:
                limit = format_duration(int(timeout * 1e9))
                said = f'command timed out: "{" ".join(command)}" timed out after {limit}'
                return Finding(Found.FAILURE, said)
            raise ProbeError(str(error)) from error
        output = (result.stdout + result.stderr)[:OUTPUT_LIMIT].decode(errors="replace")
        return Finding(Found.SUCCESS if result.exit_code == 0 else Found.FAILURE, output)

    # --- http -----------------------------------------------------------------

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            # A probe asks whether the container speaks, not whether its certificate is good;
            # a connection kept open would hide that it no longer accepts new ones.
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, force_close=True, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    async def _http(self, action: HTTPGetAction, container: Container, ip: str, timeout: float) -> Finding:
        url = http_url(action, container, ip)
        headers, skip = probe_headers(action, self._agent)
        try:
            async with asyncio.timeout(timeout):
                status, body, location = await self._get(url, headers, skip)
        except TimeoutError:
            return Finding(
                Found.FAILURE,
                f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)',
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Finding(Found.FAILURE, f'Get "{url}": {error}')
        if 200 <= status < 400:
            if status >= 300 and location:
                return Finding(Found.WARNING, f"Probe terminated redirects, Response body: {body}")
            return Finding(Found.SUCCESS, body)
        return Finding(Found.FAILURE, f"HTTP probe failed with statuscode: {status}")

    async def _get(self, url: URL, headers: Mapping[str, str], skip: frozenset[str]) -> tuple[int, str, str]:
        """Status, body and redirect target; redirects are followed while they stay on the same host."""
        origin = url.host
        for _ in range(REDIRECTS):
            async with self._client().get(
                url, headers=headers, skip_auto_headers=skip, allow_redirects=False
            ) as response:
                body = (await response.content.read(OUTPUT_LIMIT)).decode(errors="replace")
                location = response.headers.get("Location", "")
                if response.status not in {301, 302, 303, 307, 308} or not location:
                    return response.status, body, ""
                target = url.join(URL(location))
                if target.host != origin:
                    return response.status, body, str(target)
                url = target
        raise ValueError(f"stopped after {REDIRECTS} redirects")

    # --- grpc -----------------------------------------------------------------

    async def _grpc(self, action: GRPCAction, ip: str, timeout: float) -> Finding:
        address = f"[{ip}]:{action.port}" if ":" in ip else f"{ip}:{action.port}"
        channel = grpc.aio.insecure_channel(
            address,
            options=(("grpc.primary_user_agent", self._agent), ("grpc.enable_http_proxy", 0)),
        )
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(
                health_pb2.HealthCheckRequest(service=action.service or ""),
                timeout=timeout,
                wait_for_ready=True,
            )
        except grpc.aio.AioRpcError as error:
            return _grpc_failure(error, address, timeout)
        finally:
            await channel.close(None)
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return Finding(Found.SUCCESS, "service healthy")
        name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        return Finding(Found.FAILURE, f'service unhealthy (responded with "{name}")')


def _grpc_failure(error: grpc.aio.AioRpcError, address: str, timeout: float) -> Finding:
    limit = format_duration(int(timeout * 1e9))
    code = error.code()
    if code is grpc.StatusCode.UNIMPLEMENTED:
        protocol = "the grpc health protocol (grpc.health.v1.Health)"
        text = f"error: this server does not implement {protocol}: {error.details()}"
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
        text = f'timeout: failed to connect service "{address}" within {limit}: {error.details()}'
    else:
        text = f"error: health rpc probe failed: rpc error: code = {code.name} desc = {error.details()}"
    return Finding(Found.FAILURE, text)


async def _tcp(action: TCPSocketAction, container: Container, ip: str, timeout: float) -> Finding:
    """Success is a connection; nothing is said on it."""
    port = resolve_port(action.port, container)
    host = action.host or ip
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Finding(Found.FAILURE, f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Finding(Found.FAILURE, f"dial tcp {host}:{port}: {error.strerror or error}")
    # A short linger keeps the many sockets of many probes out of TIME_WAIT.
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1))
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Finding(Found.SUCCESS)


def resolve_port(port: int | str, container: Container) -> int:
    """A port's number; a name is looked up among the container's ports.

    :raises ProbeError: there is no such port, or it is out of range.
    """
    if isinstance(port, str):
        named = next((p.containerPort for p in container.ports if p.name == port), None)
        if named is None:
            if not port.isdecimal():
                raise ProbeError(f"couldn't find port: {port}")
            named = int(port)
        port = named
    if not 0 < port < 65536:
        raise ProbeError(f"invalid port number: {port}")
    return port


def http_url(action: HTTPGetAction, container: Container, ip: str) -> URL:
    """The URL that the probe asks for.

    :raises ProbeError: its port is not to be found.
    """
    port = resolve_port(action.port, container)
    host = action.host or ip
    host = f"[{host}]" if ":" in host else host
    path = action.path if action.path.startswith("/") else f"/{action.path}"
    return URL(f"{(action.scheme or 'HTTP').lower()}://{host}:{port}{path}", encoded=True)


def probe_headers(action: HTTPGetAction, agent: str) -> tuple[dict[str, str], frozenset[str]]:
    """Headers to send, and those that must not be added; an empty Accept or User-Agent removes it."""
    headers = {"User-Agent": agent, "Accept": "*/*"}
    for header in action.httpHeaders:
        name = "-".join(part.capitalize() for part in header.name.split("-"))
        headers[name] = header.value
    skip = {"Accept-Encoding"}
    for name in ("Accept", "User-Agent"):
        if not headers[name]:
            del headers[name]
            skip.add(name)
    return headers, frozenset(skip)
