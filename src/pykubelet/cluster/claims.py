"""Claims and persistent volumes, as the API server has them now; and what claims are told."""

from pykubelet.api.storage import PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus

from .door import Api
from .patch import claim_status_patch
from .paths import core
from .shared_get import SharedGet


class ClaimReader:
    """Asks for claims and volumes each time: a node may not watch them."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._shared = SharedGet(api, "claims")

    async def stop(self) -> None:
        """End what is under way."""
        await self._shared.close()

    async def claim(self, namespace: str, name: str) -> PersistentVolumeClaim:
        """The claim, which pods that ask at the same moment are told by one request.

        :raises ClusterError: it cannot be had.
        """
        return await self._shared.get(_claims(namespace, name), PersistentVolumeClaim)

    async def volume(self, name: str) -> PersistentVolume:
        """The persistent volume; one request as for claims.

        :raises ClusterError: it cannot be had.
        """
        return await self._shared.get(core("persistentvolumes", "", name), PersistentVolume)

    async def claim_now(self, namespace: str, name: str) -> PersistentVolumeClaim:
        """The claim as it is at this moment or later.

        :raises ClusterError: it cannot be had.
        """
        return await self._api.get(_claims(namespace, name), PersistentVolumeClaim)

    async def tell(
        self, claim: PersistentVolumeClaim, status: PersistentVolumeClaimStatus, *, checked: bool
    ) -> PersistentVolumeClaim:
        """Give the claim that status; the claim as it is then.

        Only what *status* changes is sent. *checked*: it is refused if the claim is not as *claim* any more.

        :raises ClusterError: it was not told.
        """
        patch = claim_status_patch(claim, status, checked=checked)
        if patch is None:
            return claim
        path = _claims(claim.metadata.namespace, claim.metadata.name, "status")
        return await self._api.patch(path, patch, PersistentVolumeClaim)


def _claims(namespace: str, name: str, subresource: str = "") -> str:
    return core("persistentvolumeclaims", namespace, name, subresource)
