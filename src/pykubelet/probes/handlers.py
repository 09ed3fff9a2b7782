"""One attempt of a probe by each of the four mechanisms (core/v1 Probe)."""

import asyncio
import contextlib
import errno
import os
import ssl

import aiohttp
import grpc
import grpc.aio
from multidict import CIMultiDict
from yarl import URL

from pykubelet.api.core import Container, GRPCAction, HTTPGetAction, Probe, TCPSocketAction
from pykubelet.base.expansion import expand_all
from pykubelet.base.gotext import format_duration
from pykubelet.cri.errors import Code, CommandTimedOutError, CriError
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
        # Only literal variables are known without asking anybody; the others count as empty.
        command = expand_all(command, {variable.name: variable.value for variable in container.env})
        try:
            result = await self._runner.exec_sync(container_id, command, timeout)
        except CriError as error:
            if error.timeout:
                return Finding(Found.FAILURE, str(CommandTimedOutError(command, timeout, error.message)))
            raise ProbeError(str(error)) from error
        output = (result.stdout + result.stderr)[:OUTPUT_LIMIT].decode(errors="replace")
        return Finding(Found.SUCCESS if result.exit_code == 0 else Found.FAILURE, output)

    # --- http -----------------------------------------------------------------

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            # A probe asks whether the container speaks, not whether its certificate is good;
            # a connection kept open would hide that it no longer accepts new ones.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, force_close=True, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            )
        return self._session

    async def _http(self, action: HTTPGetAction, container: Container, ip: str, timeout: float) -> Finding:
        url = http_url(action, container, ip)
        headers, skip = probe_headers(action, self._agent)
        try:
            async with asyncio.timeout(timeout):
                status, body = await self._get(url, headers, skip)
        except TimeoutError:
            return Finding(
                Found.FAILURE,
                f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)',
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Finding(Found.FAILURE, f'Get "{url}": {_http_failure(error)}')
        if 200 <= status < 400:
            if status >= 300:
                return Finding(Found.WARNING, f"Probe terminated redirects, Response body: {body}")
            return Finding(Found.SUCCESS, body)
        return Finding(Found.FAILURE, f"HTTP probe failed with statuscode: {status}")

    async def _get(self, url: URL, headers: CIMultiDict[str], skip: frozenset[str]) -> tuple[int, str]:
        """Status and body of the answer; redirects are followed while they stay on the same host."""
        origin = url.host
        for _ in range(REDIRECTS):
            async with self._client().get(
                url, headers=headers, skip_auto_headers=skip, allow_redirects=False
            ) as response:
                body = await _read_some(response.content)
                location = response.headers.get("Location", "")
                if response.status not in {301, 302, 303, 307, 308} or not location:
                    return response.status, body
                target = URL(location)
                if target.absolute:
                    # Another host may be meant now than the header named.
                    headers = CIMultiDict((k, v) for k, v in headers.items() if k != "Host")
                target = url.join(target)
                if target.host != origin:
                    return response.status, body
                url = target
        raise ValueError(f"stopped after {REDIRECTS} redirects")

    # --- grpc -----------------------------------------------------------------

    async def _grpc(self, action: GRPCAction, ip: str, timeout: float) -> Finding:
        address = join_host_port(_host(ip), action.port)
        limit = format_duration(int(timeout * 1e9))
        request = health_pb2.HealthCheckRequest(service=action.service or "")
        channel = grpc.aio.insecure_channel(
            address,
            options=(
                ("grpc.primary_user_agent", self._agent),
                ("grpc.enable_http_proxy", 0),
                # Each attempt makes a connection of its own, and one that is refused is tried again soon.
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.min_reconnect_backoff_ms", 100),
            ),
        )
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        connected = False
        try:
            async with asyncio.timeout(timeout):
                await channel.channel_ready()
                connected = True
                answer = await check(request)
        except TimeoutError:
            if connected:
                return Finding(Found.FAILURE, f"timeout: health rpc did not complete within {limit}")
            said = f'timeout: failed to connect service "{address}" within {limit}: context deadline exceeded'
            return Finding(Found.FAILURE, said)
        except grpc.aio.AioRpcError as error:
            return Finding(Found.FAILURE, _grpc_failure(error))
        finally:
            await channel.close(None)
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return Finding(Found.SUCCESS, "service healthy")
        names = health_pb2.HealthCheckResponse.ServingStatus
        name = dict(zip(names.values(), names.keys(), strict=True)).get(answer.status, str(answer.status))
        return Finding(Found.FAILURE, f'service unhealthy (responded with "{name}")')


def _grpc_failure(error: grpc.aio.AioRpcError) -> str:
    details = error.details() or ""
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return (
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): "
            + details
        )
    code = Code(error.code().value[0])
    return f"error: health rpc probe failed: rpc error: code = {code.name} desc = {details}"


async def _read_some(content: aiohttp.StreamReader) -> str:
    """The body, as far as it is kept."""
    body = bytearray()
    while len(body) < OUTPUT_LIMIT and (part := await content.read(OUTPUT_LIMIT - len(body))):
        body += part
    return body.decode(errors="replace")


def _http_failure(error: Exception) -> str:
    """What went wrong, in the words that Go's client has for it."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {error.host}: no such host"
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        return dial_failure(error.host, error.port or 0, error.os_error)
    return str(error)


def dial_failure(host: str, port: int, error: OSError) -> str:
    """Why no connection was made; *host* and *port* say where to."""
    where = join_host_port(host, port)
    if error.errno is None or error.errno < 0:
        return f"dial tcp {where}: {error.strerror or error}"
    reason = "i/o timeout" if error.errno == errno.ETIMEDOUT else os.strerror(error.errno).lower()
    return f"dial tcp {where}: connect: {reason}"


def join_host_port(host: str, port: int) -> str:
    """``host:port``, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host(ip: str, own: str = "") -> str:
    """The probe's own host, or the pod's IP; without either the node itself would be probed.

    :raises ProbeError: the pod has no IP.
    """
    if not own and not ip:
        raise ProbeError("the pod has no IP yet")
    return own or ip


async def _tcp(action: TCPSocketAction, container: Container, ip: str, timeout: float) -> Finding:
    """Success is a connection; nothing is said on it."""
    port = resolve_port(action.port, container)
    host = _host(ip, action.host)
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Finding(Found.FAILURE, f"dial tcp {join_host_port(host, port)}: i/o timeout")
    except OSError as error:
        return Finding(Found.FAILURE, dial_failure(host, port, error))
    # No SO_LINGER as upstream's probes have it: close() would block the whole event loop for it.
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

    :raises ProbeError: its port is not to be found, or it makes no URL.
    """
    port = resolve_port(action.port, container)
    where = join_host_port(_host(ip, action.host), port)
    path = action.path if action.path.startswith("/") else f"/{action.path}"
    try:
        return URL(f"{(action.scheme or 'HTTP').lower()}://{where}{path}")
    except ValueError as error:
        raise ProbeError(f"invalid URL of the probe: {error}") from error


def probe_headers(action: HTTPGetAction, agent: str) -> tuple[CIMultiDict[str], frozenset[str]]:
    """Headers to send, and those that must not be added; an empty Accept or User-Agent removes it."""
    headers: CIMultiDict[str] = CIMultiDict()
    for header in action.httpHeaders:
        headers.add("-".join(part.capitalize() for part in header.name.split("-")), header.value)
    skip = {"Accept-Encoding"}
    for name, default in (("User-Agent", agent), ("Accept", "*/*")):
        if headers.setdefault(name, default) == "":
            del headers[name]
            skip.add(name)
    return headers, frozenset(skip)
