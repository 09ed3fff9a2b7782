"""ClusterTrustBundles: certificates of authorities that the cluster hands to pods, by name or by signer.

They are watched from the first question on, so that a node whose pods use none does not ask at
all. (pkg/kubelet/clustertrustbundle.)
"""

import asyncio
import base64
import binascii
import hashlib
import random
import re
import textwrap
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from pykubelet.api import labels
from pykubelet.api.objects import APIResourceList, ClusterTrustBundle
from pykubelet.api.volumes import ClusterTrustBundleProjection
from pykubelet.base.clock import Clock
from pykubelet.base.tasks import first_of

from . import paths
from .door import Api, Change
from .errors import ClusterError, Refused
from .reflector import Reflector

#: The first that the server has is taken.
_VERSIONS: Final = ("certificates.k8s.io/v1beta1", "certificates.k8s.io/v1alpha1")
_RESOURCE: Final = "clustertrustbundles"
#: Seconds that a question waits for the first list.
_SYNC_WAIT: Final = 10.0
#: The longest text of a label selector, in characters.
_LONGEST_SELECTOR: Final = 100 * 1024

_BLOCK: Final = re.compile(r"-----BEGIN ([^-\n]+)-----\r?\n(.*?)-----END \1-----", re.DOTALL)


def anchors_of(bundles: Iterable[str]) -> frozenset[bytes]:
    """The certificates (DER) in PEM texts, each once; what is no PEM is passed over. Pure."""
    found: set[bytes] = set()
    for bundle in bundles:
        for block in _BLOCK.finditer(bundle):
            # Headers, which nobody uses, end with an empty line.
            text = re.sub(r"\A(?:[^\n]*:[^\n]*\n)+\r?\n", "", block[2])
            try:
                found.add(base64.b64decode("".join(text.split()), validate=True))
            except binascii.Error:
                continue
    return frozenset(found)


def pem_of(anchors: Iterable[bytes], salt: bytes) -> bytes:
    """PEM of all *anchors*, in an order that depends on *salt* alone. Pure.

    Programs shall not rely on an order: it is another one in each life of the kubelet.
    """
    shuffled = sorted(anchors, key=lambda anchor: hashlib.sha256(salt + anchor).digest())
    return "".join(_pem(anchor) for anchor in shuffled).encode()


def _pem(anchor: bytes) -> str:
    lines = textwrap.wrap(base64.b64encode(anchor).decode(), 64)
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


class TrustBundles:
    """Implements the volumes' door of that name."""

    def __init__(self, api: Api, clock: Clock, rng: random.Random, *, cache_size: int) -> None:
        """At most *cache_size* answers are kept until a bundle changes."""
        self._api = api
        self._clock = clock
        self._rng = rng
        self._cache_size = cache_size
        self._salt = rng.randbytes(16)
        self._reflector: Reflector[ClusterTrustBundle] | None = None
        self._lock = asyncio.Lock()
        self._answers: OrderedDict[tuple[str, str, bool, str], bytes] = OrderedDict()

    async def stop(self) -> None:
        """End the watch."""
        if self._reflector is not None:
            await self._reflector.stop()

    async def anchors(self, source: ClusterTrustBundleProjection) -> bytes:
        """PEM of the certificates that *source* names; empty where they may be missing.

        :raises LookupError: they cannot be had now; the text goes into the pod's event.
        """
        selector = labels.told(source.labelSelector)
        if len(selector) > _LONGEST_SELECTOR:
            raise LookupError(f"label selector length ({len(selector)}) is larger than {_LONGEST_SELECTOR}")
        reflector = await self._synced()
        # No selector and an empty one have the same text, and mean the opposite.
        key = (source.name or "", source.signerName or "", source.labelSelector is None, selector)
        answer = self._answers.get(key)
        if answer is None:
            bundles = self._named(reflector, source) if source.name else self._signed(reflector, source)
            if not bundles:
                return b""
            answer = pem_of(anchors_of(bundle.spec.trustBundle for bundle in bundles), self._salt)
            self._answers[key] = answer
            if len(self._answers) > self._cache_size:
                self._answers.popitem(last=False)
        self._answers.move_to_end(key)
        return answer

    @staticmethod
    def _named(
        reflector: Reflector[ClusterTrustBundle], source: ClusterTrustBundleProjection
    ) -> list[ClusterTrustBundle]:
        found = reflector.get(source.name or "")
        if found is None and not source.optional:
            raise LookupError(
                "while getting ClusterTrustBundle: "
                f'clustertrustbundle.certificates.k8s.io "{source.name}" not found'
            )
        return [found] if found is not None else []

    @staticmethod
    def _signed(
        reflector: Reflector[ClusterTrustBundle], source: ClusterTrustBundleProjection
    ) -> list[ClusterTrustBundle]:
        try:
            found = [
                bundle
                for bundle in reflector.items.values()
                if bundle.spec.signerName == source.signerName
                and labels.matches(source.labelSelector, bundle.metadata.labels)
            ]
        except ValueError as error:
            raise LookupError(f"while parsing label selector: {error}") from error
        if not found and not source.optional:
            raise LookupError("combination of signerName and labelSelector matched zero ClusterTrustBundles")
        return found

    # --- watching -------------------------------------------------------------

    async def _synced(self) -> Reflector[ClusterTrustBundle]:
        async with self._lock:
            if self._reflector is None:
                self._reflector = await self._begin()
        reflector = self._reflector
        if not reflector.synced.is_set():
            await first_of(reflector.synced.wait(), self._clock.sleep(_SYNC_WAIT))
        if not reflector.synced.is_set():
            raise LookupError("ClusterTrustBundle informer has not yet synced")
        return reflector

    async def _begin(self) -> Reflector[ClusterTrustBundle]:
        for version in _VERSIONS:
            if await self._has(version):
                reflector = Reflector(
                    self._api,
                    paths.group(version, _RESOURCE),
                    ClusterTrustBundle,
                    self._clock,
                    self._rng,
                    on_change=self._changed,
                    # They are asked for by name, and have no namespace.
                    key=lambda found: found.metadata.name,
                )
                await reflector.start()
                return reflector
        raise LookupError("the API server has no ClusterTrustBundles")

    async def _has(self, version: str) -> bool:
        try:
            told = await self._api.get(f"/apis/{version}", APIResourceList)
        except Refused as error:
            if error.not_found:
                return False
            raise LookupError(f"whether there are ClusterTrustBundles is not known: {error}") from error
        except ClusterError as error:
            raise LookupError(f"whether there are ClusterTrustBundles is not known: {error}") from error
        return any(resource.name == _RESOURCE for resource in told.resources)

    def _changed(self, _change: Change[ClusterTrustBundle]) -> None:
        # They change seldom: all answers are made anew.
        self._answers.clear()
