"""What config maps and secrets have in common, and how they differ, for the stores that keep them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from pykubelet.api.objects import ConfigMap, Secret

T = TypeVar("T", bound=ConfigMap | Secret)
T_co = TypeVar("T_co", bound=ConfigMap | Secret, covariant=True)

KindName = Literal["configmap", "secret"]


@dataclass(frozen=True, slots=True)
class ObjectKind(Generic[T]):
    """One kind of object that pods are made with."""

    name: KindName
    #: The API's name of it in paths.
    resource: str
    type: type[T]
    #: What pods see of an object; equal for objects that differ in metadata only.
    contents: Callable[[T], object]


CONFIG_MAPS = ObjectKind("configmap", "configmaps", ConfigMap, lambda found: (found.data, found.binaryData))
SECRETS = ObjectKind("secret", "secrets", Secret, lambda found: found.data)


class ObjectStore(Protocol[T_co]):
    """Keeps the objects of one kind that pods use."""

    async def start(self) -> None:
        """Begin to keep house."""
        ...

    async def stop(self) -> None:
        """End everything."""
        ...

    def add(self, namespace: str, name: str, user: str, *, mounted: bool) -> None:
        """The pod of the UID *user* needs the object; *mounted*: it sees changes of it while it runs.

        Said again, the last word counts.
        """
        ...

    def drop(self, namespace: str, name: str, user: str) -> None:
        """The pod does not need the object any more."""
        ...

    async def get(self, namespace: str, name: str) -> T_co | None:
        """The object; None when there is none.

        :raises LookupError: it cannot be known now.
        """
        ...


def not_registered(namespace: str, name: str) -> LookupError:
    """No pod that is known needs the object, so it is not kept."""
    return LookupError(f'object "{namespace}"/"{name}" not registered')
