"""One attempt of a probe by each of the four mechanisms (core/v1 Probe)."""

import asyncio
import socket

import aiohttp
import grpc
import grpc.aio

from pykubelet.api.core import Container, GRPCAction, HTTPGetAction, Probe, TCPSocketAction
from pykubelet.api.http_action import action_headers, action_url, join_host_port, resolve_port
from pykubelet.base.expansion import expand_all
from pykubelet.base.fair_limit import FairLimit
from pykubelet.base.gotext import format_duration
from pykubelet.base.http_get import BodyError, Get, dial_failure, failure, make_session, no_such_host
from pykubelet.base.lookup import Lookups
from pykubelet.cri.errors import Code, CommandTimedOutError, CriError
from pykubelet.rpc._gen import health_pb2

from .types import ExecRunner, Finding, Found, ProbeError

#: Bytes of output that are kept, and of a response's body that are read.
OUTPUT_LIMIT = 10 * 1024


class Handlers:
    """The four mechanisms; holds one HTTP client for all probes of the node."""

    def __init__(self, runner: ExecRunner, version: str) -> None:
        """*version* (``1.36``) goes into the user agent."""
        self._runner = runner
        self._agent = f"kube-probe/{version}"
        self._lookups = Lookups()
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
            return await self._tcp(probe.tcpSocket, container, ip, timeout)
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

    async def _http(self, action: HTTPGetAction, container: Container, ip: str, timeout: float) -> Finding:
        _known_host(ip, action.host)
        try:
            url = action_url(action, container, ip)
        except ValueError as error:
            raise ProbeError(str(error)) from error
        headers, skip = action_headers(action, self._agent)
        if self._session is None:
            self._session = make_session(self._lookups)
        try:
            status, body = await Get(self._session, url, headers, skip, OUTPUT_LIMIT).answer(timeout)
        except BodyError as error:
            raise ProbeError(str(error), "failure") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Finding(Found.FAILURE, failure(url, error))
        if 200 <= status < 400:
            if status >= 300:
                return Finding(Found.WARNING, f"Probe terminated redirects, Response body: {body}")
            return Finding(Found.SUCCESS, body)
        return Finding(Found.FAILURE, f"HTTP probe failed with statuscode: {status}")

    # --- tcp ------------------------------------------------------------------

    async def _tcp(self, action: TCPSocketAction, container: Container, ip: str, timeout: float) -> Finding:
        """Success is a connection; nothing is said on it."""
        try:
            port = resolve_port(action.port, container)
        except ValueError as error:
            raise ProbeError(str(error)) from error
        host = _known_host(ip, action.host)
        problem = no_such_host(host)
        try:
            async with FairLimit(timeout):
                for family, address in await self._lookups.addresses(host):
                    try:
                        await _connect(family, address, port)
                    except OSError as error:
                        problem = dial_failure(address, port, error)
                    else:
                        return Finding(Found.SUCCESS)
        except TimeoutError:
            problem = f"dial tcp {join_host_port(host, port)}: i/o timeout"
        except OSError:
            # The name is not known.
            pass
        return Finding(Found.FAILURE, problem)

    # --- grpc -----------------------------------------------------------------

    async def _grpc(self, action: GRPCAction, ip: str, timeout: float) -> Finding:
        address = join_host_port(_known_host(ip), action.port)
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
            async with FairLimit(timeout):
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


def _known_host(ip: str, own: str = "") -> str:
    """The probe's own host, or the pod's IP; without either the node itself would be probed.

    :raises ProbeError: the pod has no IP.
    """
    if not own and not ip:
        raise ProbeError("the pod has no IP yet")
    return own or ip


async def _connect(family: socket.AddressFamily, address: str, port: int) -> None:
    """Make a connection and let it go.

    :raises OSError: it was not made.
    """
    # No SO_LINGER as upstream's probes have it: close() would block the whole event loop for it.
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
