"""Pods' claims: asked of the API server by the room ``cluster``, understood by the room ``volumes``."""

import logging
from collections import OrderedDict
from dataclasses import replace
from typing import Final

from pykubelet.api.core import Pod
from pykubelet.api.storage import PersistentVolumeClaim
from pykubelet.api.volumes import Volume
from pykubelet.base.clock import Clock
from pykubelet.base.errors import VolumeError
from pykubelet.base.journal import Journal
from pykubelet.cluster.claims import ClaimReader
from pykubelet.cluster.errors import ClusterError
from pykubelet.volumes import claims
from pykubelet.volumes.expansion import Expansion, begun, failed, finished, for_good, plan
from pykubelet.volumes.spec import VolumeSpec

log = logging.getLogger(__name__)

#: Claims of which is remembered that they could not be expanded.
_REMEMBERED: Final = 1000


class ClusterClaims:
    """Implements the door ``Claims`` of the room ``volumes``."""

    def __init__(self, reader: ClaimReader, clock: Clock, journal: Journal) -> None:
        self._reader = reader
        self._clock = clock
        self._journal = journal
        #: UIDs of claims whose volume this node failed for good to expand, the oldest first.
        self._failed: OrderedDict[str, None] = OrderedDict()

    async def resolve(self, pod: Pod, volume: Volume) -> VolumeSpec:
        """See ``Claims``."""
        namespace, name = pod.metadata.namespace, claims.claim_name(pod, volume)
        try:
            claim = await self._reader.claim(namespace, name)
        except ClusterError as error:
            raise claims.unread(namespace, name, error) from error
        claims.check_claim(pod, volume, claim)
        try:
            pv = await self._reader.volume(claim.spec.volumeName)
        except ClusterError as error:
            raise claims.unread_volume(claim, error) from error
        return claims.resolve(pod, volume, claim, pv)

    async def expanding(self, spec: VolumeSpec) -> Expansion:
        """See ``Claims``."""
        claim = await self._claim_now(spec)
        uid = claim.metadata.uid
        planned = plan(replace(spec, claim=claim), failed=uid in self._failed)
        if planned.act != "expand" or not (planned.told and planned.recovers):
            return planned
        try:
            claim = await self._reader.tell(claim, begun(claim.status), checked=True)
        except ClusterError as error:
            raise _untold(claim, error) from error
        self._journal.record(
            "VolumeExpansionBegun",
            f"volume {spec.name} is expanded to {planned.size}",
            cause="the claim's status says that it is the node's turn",
            claim=f"{claim.metadata.namespace}/{claim.metadata.name}",
        )
        return replace(planned, spec=replace(spec, claim=claim))

    async def expanded(self, expansion: Expansion, error: VolumeError | None) -> None:
        """See ``Claims``."""
        claim = expansion.spec.claim
        if claim is None:
            return
        if error is None:
            self._failed.pop(claim.metadata.uid, None)
            await self._finished(expansion, claim)
        elif for_good(error):
            self._remember(claim.metadata.uid)
            await self._gone_wrong(expansion, claim, error)

    async def _claim_now(self, spec: VolumeSpec) -> PersistentVolumeClaim:
        bound = None if spec.pv is None else spec.pv.spec.claimRef
        if bound is None:
            raise VolumeError(f"volume {spec.name} has no claim", left="unchanged")
        try:
            claim = await self._reader.claim_now(bound.namespace, bound.name)
        except ClusterError as error:
            text = f"mountVolume.NodeExpandVolume get PVC failed : {error}"
            raise VolumeError(text, left="unchanged") from error
        if claim.metadata.uid != bound.uid:
            text = f"PVC {bound.namespace}/{bound.name} is not the one that volume {spec.name} is bound to"
            raise VolumeError(text, left="unchanged")
        return claim

    async def _finished(self, done: Expansion, claim: PersistentVolumeClaim) -> None:
        if not done.told:
            return
        try:
            await self._reader.tell(claim, finished(claim.status, done.size), checked=True)
        except ClusterError as error:
            text = f"mountVolume.NodeExpandVolume update pvc status failed: {_untold(claim, error)}"
            raise VolumeError(text, left="unchanged") from error

    async def _gone_wrong(self, tried: Expansion, claim: PersistentVolumeClaim, why: VolumeError) -> None:
        if not tried.recovers:
            return
        status = failed(claim.status, tried, why, self._clock.now())
        try:
            await self._reader.tell(claim, status, checked=False)
        except ClusterError as error:
            # The failure itself is what counts; the claim hears of the next one.
            log.error("%s", _untold(claim, error))

    def _remember(self, uid: str) -> None:
        self._failed[uid] = None
        self._failed.move_to_end(uid)
        if len(self._failed) > _REMEMBERED:
            self._failed.popitem(last=False)


def _untold(claim: PersistentVolumeClaim, error: ClusterError) -> VolumeError:
    text = f'patchPVCStatus failed to patch PVC "{claim.metadata.name}": {error}'
    return VolumeError(text, left="unchanged")
