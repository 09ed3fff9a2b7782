"""The variables that tell containers of the cluster's services (Docker's links and Kubernetes' own names)."""

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pykubelet.api.objects import Service
from pykubelet.base.clock import Clock

from . import paths
from .door import Api, Change
from .reflector import Reflector

#: The service that every container is told of.
_MASTER: Final = ("default", "kubernetes")


class ServiceLister:
    """Watches the services that have an address; implements containers' ``Services``."""

    def __init__(self, api: Api, clock: Clock, rng: random.Random) -> None:
        self._reflector = Reflector(
            api,
            paths.core("services"),
            Service,
            clock,
            rng,
            query={"fieldSelector": "spec.clusterIP!=None"},
            on_change=self._changed,
        )
        self._by_namespace: dict[str, list[Service]] | None = None
        self.synced = self._reflector.synced

    async def start(self) -> None:
        """Begin to watch."""
        await self._reflector.start()

    async def stop(self) -> None:
        """End the watch."""
        await self._reflector.stop()

    def environment(self, namespace: str, *, links: bool) -> Mapping[str, str] | None:
        """Variables for pods of *namespace*; None while services have never been read."""
        if not self.synced.is_set():
            return None
        if self._by_namespace is None:
            self._by_namespace = {}
            for service in self._reflector.items.values():
                self._by_namespace.setdefault(service.metadata.namespace, []).append(service)
        near = [*self._by_namespace.get(_MASTER[0], ()), *self._by_namespace.get(namespace, ())]
        return service_environment(near, namespace, links=links)

    def _changed(self, _change: Change[Service]) -> None:
        self._by_namespace = None


def service_environment(services: Iterable[Service], namespace: str, *, links: bool) -> dict[str, str]:
    """What pods of *namespace* are told: the API server's address always, their neighbours' with *links*."""
    seen: dict[str, Service] = {}
    for service in services:
        meta = service.metadata
        if service.spec.clusterIP in {"", "None"}:
            continue
        if (meta.namespace, meta.name) == _MASTER:
            seen.setdefault(meta.name, service)
        elif links and meta.namespace == namespace:
            seen[meta.name] = service
    return {name: value for service in seen.values() for name, value in _variables(service)}


def _variables(service: Service) -> Iterator[tuple[str, str]]:
    prefix = _variable_name(service.metadata.name)
    address, ports = service.spec.clusterIP, service.spec.ports
    yield f"{prefix}_SERVICE_HOST", address
    host = f"[{address}]" if ":" in address else address
    for index, port in enumerate(ports):
        protocol = port.protocol or "TCP"
        url = f"{protocol.lower()}://{host}:{port.port}"
        if index == 0:
            # The first port goes by the service's name alone, too.
            yield f"{prefix}_SERVICE_PORT", str(port.port)
            yield f"{prefix}_PORT", url
        if port.name:
            yield f"{prefix}_SERVICE_PORT_{_variable_name(port.name)}", str(port.port)
        link = f"{prefix}_PORT_{port.port}_{protocol.upper()}"
        yield link, url
        yield f"{link}_PROTO", protocol.lower()
        yield f"{link}_PORT", str(port.port)
        yield f"{link}_ADDR", address


def _variable_name(name: str) -> str:
    return name.replace("-", "_").upper()
