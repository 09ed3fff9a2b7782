"""What is behind a volume of a pod: its claim's persistent volume, the plug-in, the device."""

from collections.abc import Iterable, Mapping

from pykubelet.api.core import Pod
from pykubelet.api.volumes import Volume
from pykubelet.base.errors import VolumeError

from . import kinds, migration
from .desired import CLAIMS, named
from .doors import Claims
from .plugin import PersistentPlugin
from .spec import VolumeSpec
from .state import Resolved


class Resolver:
    """Asks for claims and plug-ins; keeps nothing."""

    def __init__(
        self,
        claims: Claims,
        plugins: Iterable[PersistentPlugin],
        simple: Mapping[str, str],
        *,
        labels: bool = False,
    ) -> None:
        """*simple* are names of plug-ins of the room's own by the kinds that persistent volumes may be of.

        *labels*: volumes may be mounted with SELinux labels.
        """
        self._claims = claims
        self._plugins = {kind: plugin for plugin in plugins for kind in plugin.kinds}
        self._simple = simple
        self._migrated = frozenset(migration.CLOUDS if kinds.CSI in self._plugins else ())
        self._labels = labels

    @property
    def sources(self) -> frozenset[str]:
        """The kinds of volume that must be resolved."""
        return frozenset(self._plugins).intersection(kinds.SOURCES) | CLAIMS | self._migrated

    async def resolve(self, pod: Pod, volume: Volume) -> Resolved:
        """Find it out, asking anew.

        :raises VolumeError: it cannot be known now, or what is there does not fit.
        """
        claimed = any(getattr(volume, source) is not None for source in CLAIMS)
        spec = await self._claims.resolve(pod, volume) if claimed else VolumeSpec(volume)
        if self._migrated:
            spec = migration.translate(spec, pod.metadata.namespace)
        found = spec.kinds
        if len(found) != 1:
            raise VolumeError(f'volume "{spec.name}" {named(found)}', left="unchanged")
        plugin = self._plugins.get(found[0])
        if plugin is None:
            if claimed and found[0] in self._simple:
                return Resolved(spec, self._simple[found[0]])
            raise VolumeError(kinds.refusal(volume, found[0]), left="unchanged")
        device = plugin.device(spec)
        return Resolved(
            spec,
            plugin.name,
            device,
            attachable=device is not None and await plugin.attachable(spec),
            republished=plugin.republishes(spec),
            expandable=plugin.expandable and spec.pv is not None and not spec.inline,
            labelled=self._labels and await plugin.labelled(spec),
        )
