"""The double itself: listens, holds the parts together, and has the conveniences of tests."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from aiohttp import web
from tests.apiserver import kubeconfig, resources
from tests.apiserver.admission import Admission, NamespaceController
from tests.apiserver.certificates import Approve, Authority, Signer
from tests.apiserver.client import Client
from tests.apiserver.faults import Faults
from tests.apiserver.http import Http
from tests.apiserver.identity import Users
from tests.apiserver.protection import Protection
from tests.apiserver.reading import WatchList, WatchSettings
from tests.apiserver.registry import Registry
from tests.apiserver.requests import RequestLog
from tests.apiserver.resources import Object, Resource, Target
from tests.apiserver.reviews import Reviews
from tests.apiserver.store import Store, copy

T = TypeVar("T")

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
ADMIN = ("kubernetes-admin", "system:masters")


class ApiServer:
    """An API server in this process: ``async with ApiServer() as server``."""

    def __init__(
        self,
        *,
        tls: bool = False,
        anonymous: bool = True,
        service_accounts: bool = False,
        approve: Approve = "auto",
        window: int = 1000,
        bookmark_period: float = 60.0,
        watch_list: WatchList = "on",
        seed: int = 0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """:param tls: HTTPS, with client certificates.
        :param anonymous: let requests without credentials in.
        :param service_accounts: give pods the volume of their token, as the admission plugin does.
        :param approve: what becomes of CertificateSigningRequests.
        :param window: changes that a watch can go back, of each resource.
        :param bookmark_period: seconds between bookmarks.
        :param watch_list: what sendInitialEvents brings: "on", "refused" (422) or "error" (an ERROR event).
        :param seed: of names and UIDs.
        :param now: wall time.
        """
        randomness = random.Random(seed)
        self.store = Store(window)
        self.registry = Registry(self.store, now, randomness)
        self.users = Users(lambda: now().timestamp(), anonymous=anonymous)
        self.reviews = Reviews(self.users, self.store, now=lambda: now().timestamp())
        self.faults = Faults()
        self.requests = RequestLog()
        self.authority = Authority()
        self.signer = Signer(self.store, self.authority, approve)
        self.registry.admission.append(Admission(self.store, service_accounts, randomness).admit)
        controller = NamespaceController(self.registry.create, self.store, self.authority.pem)
        protection = Protection(self.store, self.registry.patch)
        self.registry.admission.append(protection.admit)
        self.registry.written += [controller.written, self.signer.written, protection.written]
        watches = WatchSettings(bookmark_period, watch_list)
        self._http = Http(
            self.store, self.registry, self.reviews, self.users, self.faults, self.requests, watches
        )
        self._context = self.authority.server_context() if tls else None
        self._runner: web.ServerRunner | None = None
        self._server: web.Server | None = None
        self._site: web.TCPSite | None = None
        self.port = 0
        for namespace in NAMESPACES:
            self.create_namespace(namespace)

    async def __aenter__(self) -> "ApiServer":
        self._server = web.Server(self._http.handle, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=0.5)
        await self._runner.setup()
        await self.up()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.faults.clear()
        await self.down()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    # Faults of the whole server.

    async def up(self) -> None:
        """Listen (again), on the same port once it has one."""
        if self._site is not None or self._runner is None:
            return
        self._site = web.TCPSite(
            self._runner, "127.0.0.1", self.port, ssl_context=self._context, reuse_address=True
        )
        await self._site.start()
        if not self.port:
            self.port = self._runner.addresses[0][1]

    async def down(self) -> None:
        """Refuse connections and drop those that there are, until :meth:`up`."""
        if self._site is not None:
            await self._site.stop()
            self._site = None
        await self.drop_connections()

    async def drop_connections(self) -> None:
        """Reset every connection; new ones are taken."""
        for connection in list(self._server.connections) if self._server else ():
            if connection.transport is not None:
                connection.transport.abort()
        # The handlers learn of it in the loop's next rounds.
        for _ in range(3):
            await asyncio.sleep(0)

    async def flap(self, times: int, down: float, up: float) -> None:
        """Go down and come up *times* times, for *down* and *up* seconds."""
        for _ in range(times):
            await self.down()
            await asyncio.sleep(down)
            await self.up()
            await asyncio.sleep(up)

    def compact(self) -> None:
        """Forget the history: a watch from an earlier version is told 410."""
        self.store.compact()

    # Conveniences.

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """A copy of an object as it is now."""
        found = self.store.get(resource, namespace, name)
        return None if found is None else copy(found.obj)

    def list(self, resource: Resource, namespace: str = "") -> list[Object]:
        """Copies of all objects, or of those of *namespace*."""
        return [copy(item.obj) for item in self.store.all(resource) if namespace in ("", item.key[0])]

    def create(self, resource: Resource, obj: Object, namespace: str = "") -> Object:
        """Create *obj* without HTTP; its namespace is made if need be."""
        if resource.namespaced:
            namespace = namespace or obj.get("metadata", {}).get("namespace", "") or "default"
            self.create_namespace(namespace)
        return copy(self.registry.create(Target(resource, namespace), obj).obj)

    def create_namespace(self, name: str) -> None:
        """Create a namespace, unless it exists."""
        if self.store.get(resources.NAMESPACES, "", name) is None:
            self.registry.create(Target(resources.NAMESPACES), {"metadata": {"name": name}})

    def create_pod(
        self,
        name: str,
        *,
        namespace: str = "default",
        node: str = "",
        image: str = "registry.k8s.io/pause:3.10",
        metadata: Object | None = None,
        **spec: Any,
    ) -> Object:
        """Create a pod with one container, or with the *spec* given, on *node*."""
        wanted: Object = {"containers": [{"name": "main", "image": image}], **spec}
        if node:
            wanted["nodeName"] = node
        return self.create(
            resources.PODS, {"metadata": {"name": name, **(metadata or {})}, "spec": wanted}, namespace
        )

    def create_node(self, name: str, **node: Any) -> Object:
        """Create a node."""
        return self.create(resources.NODES, {"metadata": {"name": name}, **node})

    def bind(self, namespace: str, name: str, node: str) -> None:
        """Assign a pod to a node."""
        target = Target(resources.PODS, namespace, name, "binding")
        self.registry.bind(target, {"target": {"kind": "Node", "name": node}})

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        change: Callable[[Object], None],
        subresource: str = "",
    ) -> Object:
        """Change an object in place, past all rules of HTTP but not those of the registry."""

        def apply(obj: Object) -> Object:
            changed = copy(obj)
            change(changed)
            return changed

        return copy(self.registry.patch(Target(resource, namespace, name, subresource), apply).obj)

    def delete(self, resource: Resource, namespace: str, name: str, grace: int | None = None) -> bool:
        """Delete an object; whether it is gone."""
        options = {} if grace is None else {"gracePeriodSeconds": grace}
        return self.registry.delete(Target(resource, namespace, name), options)[1]

    def pod(self, namespace: str, name: str) -> Object | None:
        """A pod as it is now; None when there is none."""
        return self.get(resources.PODS, namespace, name)

    def node(self, name: str) -> Object | None:
        """A node as it is now; None when there is none."""
        return self.get(resources.NODES, "", name)

    async def wait_for(self, predicate: Callable[[], T], timeout: float = 10.0) -> T:
        """Wait until *predicate* answers something true; that is answered.

        :raises TimeoutError: it did not within *timeout* seconds.
        """
        async with asyncio.timeout(timeout):
            while not (answer := predicate()):
                await asyncio.sleep(0.01)
        return answer

    def credentials(
        self, user: str, *groups: str, by: Literal["token", "certificate"] = "token"
    ) -> kubeconfig.Credentials:
        """How *user* comes in; a certificate needs TLS."""
        ca = self.authority.pem if self._context else b""
        if by == "token":
            return kubeconfig.Credentials(self.url, ca, self.users.token(user, *groups))
        certificate, key = self.authority.client_pair(user, *groups)
        return kubeconfig.Credentials(self.url, ca, "", certificate, key)

    def write_kubeconfig(
        self, path: Path, user: str = ADMIN[0], *groups: str, by: Literal["token", "certificate"] = "token"
    ) -> Path:
        """Write a kubeconfig of *user*; answers its path."""
        return kubeconfig.write(path, self.credentials(user, *groups, by=by))

    def client(self, user: str = ADMIN[0], *groups: str) -> Client:
        """A client of *user*, the admin by default; use it as a context manager."""
        credentials = self.credentials(user, *(groups or ADMIN[1:]))
        return Client(credentials.server, token=credentials.token, context=credentials.context())
