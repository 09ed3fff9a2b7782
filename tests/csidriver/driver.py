"""The whole driver: Identity and Node at one socket, Registration at another in ``plugins_registry``."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.wrappers_pb2 import BoolValue
from tests.csidriver.fake import NODE
from tests.csidriver.files import Call, Files
from tests.csidriver.node import Node, Refusal
from tests.csidriver.serving import SocketServer

from pykubelet.rpc import csi_v1, plugin_registration
from pykubelet.rpc._gen import csi_identity_pb2, plugin_registration_pb2

IDENTITY = csi_identity_pb2.DESCRIPTOR.services_by_name["Identity"]
REGISTRATION = plugin_registration_pb2.DESCRIPTOR.services_by_name["Registration"]


class Identity:
    """Who the driver is."""

    def __init__(self, files: Files) -> None:
        self._files = files

    async def GetPluginInfo(self, request, context):
        return csi_v1.GetPluginInfoResponse(name=self._files.settings.name, vendor_version="1")

    async def GetPluginCapabilities(self, request, context):
        return csi_v1.GetPluginCapabilitiesResponse()

    async def Probe(self, request, context):
        return csi_v1.ProbeResponse(ready=BoolValue(value=True))


class Registration:
    """What the registrar beside a driver says."""

    def __init__(self, files: Files, endpoint: Path) -> None:
        self._files = files
        self._endpoint = endpoint

    async def GetInfo(self, request, context):
        told = self._files.settings
        return plugin_registration.PluginInfo(
            type=told.plugin_type,
            name=told.name,
            endpoint=str(self._endpoint),
            supported_versions=told.versions,
        )

    async def NotifyRegistrationStatus(self, request, context):
        return plugin_registration.RegistrationStatusResponse()


class Witness:
    """Stands before a service: keeps each call and lets happen what the faults say."""

    def __init__(self, files: Files, service: object) -> None:
        self._files = files
        self._service = service

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._service, name)

        async def answer(request, context):
            number = self._files.record(name, MessageToDict(request, preserving_proto_field_name=True))
            try:
                made = await self._answer(name, method, request, context)
            except Refusal as error:
                self._files.answered(number, error.code.name)
                await context.abort(error.code, str(error))
            self._files.answered(number, "OK")
            return made

        return answer

    async def _answer(self, name: str, method: Callable[..., Any], request, context):
        fault = self._files.take_fault(name)
        if fault is None:
            return await method(request, context)
        await asyncio.sleep(fault.delay)
        while fault.hang and self._files.hangs(name):
            await asyncio.sleep(0.02)
        made = await method(request, context) if fault.done or not fault.code else None
        if fault.code:
            raise Refusal(grpc.StatusCode[fault.code], fault.message)
        return made


class DriverProcess:
    """The driver as a process of its own (``python -m tests.csidriver``); killed at the exit."""

    def __init__(self, root: Path, registry: Path | None = None, **settings: Any) -> None:
        self.driver = CsiDriver(root, registry, **settings)
        self._registry = registry

    async def start(self) -> None:
        """Start it, again if it ended; it serves when this returns."""
        registry = ["--registry", str(self._registry)] if self._registry else []
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.csidriver", "--root", str(self.driver.files.root), *registry,
            stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert self._process.stdout is not None
        assert await self._process.stdout.readline() == b"ready\n"

    async def kill(self) -> None:
        """End it with SIGKILL: its sockets stay."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """End it with SIGTERM: its sockets go."""
        self._process.terminate()
        assert await self._process.wait() == 0

    async def __aenter__(self) -> "DriverProcess":
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.kill()


class CsiDriver:
    """A driver with its files below *root*; serves between enter and exit.

    With *registry* it makes itself known there, at ``NAME-reg.sock``. Leaving takes
    the sockets away, not what is mounted.
    """

    def __init__(self, root: Path, registry: Path | None = None, **settings: Any) -> None:
        self.files = Files(root)
        if settings:
            self.files.set(**settings)
        self._registry = registry

    @property
    def name(self) -> str:
        return self.files.settings.name

    @property
    def endpoint(self) -> str:
        return str(self.files.csi_socket)

    @property
    def registration_socket(self) -> Path:
        assert self._registry is not None
        return self._registry / f"{self.name}-reg.sock"

    def calls(self, method: str = "") -> list[Call]:
        """The calls that came in so far."""
        return self.files.calls(method)

    def fault(self, method: str, code: str = "", **more: Any) -> None:
        """See :meth:`Files.fault`."""
        self.files.fault(method, code, **more)

    async def __aenter__(self) -> "CsiDriver":
        files = self.files
        node, identity = Witness(files, Node(files)), Witness(files, Identity(files))
        servers = [SocketServer(files.csi_socket, (NODE, node), (IDENTITY, identity))]
        if self._registry is not None:
            registration = Witness(files, Registration(files, files.csi_socket))
            servers.append(SocketServer(self.registration_socket, (REGISTRATION, registration)))
        async with AsyncExitStack() as stack:
            for server in servers:
                await stack.enter_async_context(server)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()
