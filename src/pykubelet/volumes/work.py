"""The effects: how each order is carried out, by plug-ins, and what the book is told of it."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from pykubelet.api.mounted import MountedVolume
from pykubelet.base.clock import Clock
from pykubelet.base.errors import VolumeError
from pykubelet.base.layout import Layout

from . import disk, expansion, mountpoint, sizes, subpaths
from .book import Book
from .doors import Attachments, Claims
from .orders import Order, next_look
from .plugin import ContentPlugin, PersistentPlugin, Plugin, Remover
from .resolver import Resolver
from .state import DeviceKey, SourceKey, VolumeKey, Wanted
from .telling import Telling

T = TypeVar("T")

OffLoop = Callable[[Callable[[], Any]], Awaitable[Any]]
#: Looks at a path that may not answer: the path, what looks, and for how many seconds that is waited
#: for. Raises TimeoutError when it does not answer.
Look = Callable[[str, Callable[[], Any], float], Awaitable[Any]]

#: Seconds in which a server that is there answers a look at a path.
LOOK_LIMIT: Final = 10.0
#: Seconds in which all that a volume is made of must have been fetched; what is behind it, found out.
_FETCH_LIMIT: Final = 30.0
#: Seconds for one call of a plug-in that asks a driver or a server; each such question has its own limit.
_CALL_LIMIT: Final = 600.0


class Work:
    """Carries out orders; every failure is an exception."""

    def __init__(
        self,
        layout: Layout,
        clock: Clock,
        book: Book,
        telling: Telling,
        off_loop: OffLoop,
        look: Look,
        *,
        plugins: Mapping[str, Plugin],
        contents: Mapping[str, ContentPlugin],
        persistent: Sequence[PersistentPlugin],
        resolver: Resolver,
        claims: Claims,
        attachments: Attachments,
        refresh_period: float,
        rng: random.Random,
    ) -> None:
        """*plugins* and *contents* by their names; the rest as the manager has it."""
        self._layout = layout
        self._clock = clock
        self._book = book
        self._telling = telling
        self._off_loop = off_loop
        self._look = look
        self._plugins = plugins
        self._contents = contents
        self._persistent = {plugin.name: plugin for plugin in persistent}
        self._removers: Mapping[str, Remover] = {**plugins, **contents}
        self._resolver = resolver
        self._claims = claims
        self._attachments = attachments
        self._refresh_period = refresh_period
        self._rng = rng

    async def do(self, order: Order, wanted: Wanted | None) -> bool:
        """Carry the order out; whether anything is different now.

        :raises VolumeError, OSError: it failed.
        """
        target = order.target
        if order.refusal is not None:
            raise VolumeError(order.refusal.text, left="unchanged", step=_step(order, wanted))
        if isinstance(target, SourceKey):
            return await self._resolve(target)
        if isinstance(target, DeviceKey):
            await self._with_device(order, target.unique_name, wanted)
        elif isinstance(target, str):
            await self._clean(target)
        elif order.kind == "unmount":
            await self._unmount(target)
        elif wanted is not None:
            return await self._give(order, wanted)
        return True

    # --- what is behind a volume, and its device ------------------------------

    async def _resolve(self, source: SourceKey) -> bool:
        wants = self._book.wants
        pod = wants.pod(source.uid)
        if pod is None:
            return False
        volume = wants.asked_by(pod).sources.get(source.volume)
        if volume is None:
            return False
        resolved = await _within(
            _FETCH_LIMIT, "what is behind it could not be found out", self._resolver.resolve(pod, volume)
        )
        before = wants.resolutions.get(source)
        wants.resolutions.done(source, resolved)
        name = VolumeKey(source.uid, resolved.plugin, resolved.spec.directory).unique_name
        self._book.sizes.learn(resolved.device.unique_name if resolved.device else name, resolved.spec)
        return before is None or (before.spec.name, before.device, before.attachable) != (
            resolved.spec.name,
            resolved.device,
            resolved.attachable,
        )

    async def _with_device(self, order: Order, name: str, wanted: Wanted | None) -> None:
        devices = self._book.devices
        if order.kind == "detach":
            devices.detached(name)
        elif order.kind == "unstage":
            known = devices.device(name)
            if known is not None:
                plugin = self._plugin(known[1])
                await _within(_CALL_LIMIT, "unstaging it was not done", plugin.unstage(known[0]))
            devices.unstaged(name)
        elif wanted is not None and wanted.device is not None and wanted.resolved is not None:
            if order.kind == "attach":
                attached = await _within(
                    _FETCH_LIMIT, "the node's status could not be read", self._attachments.attached()
                )
                if name not in attached:
                    raise VolumeError("Volume not attached according to node status", left="unchanged")
                devices.attached(wanted.device, wanted.key.plugin, attached[name])
                return
            plugin = self._plugin(wanted.key.plugin)
            path = devices.path(name)
            spec = wanted.resolved.spec
            await _within(_CALL_LIMIT, "staging it was not done", plugin.stage(spec, wanted.pod, path))
            devices.staged(wanted.device, wanted.key.plugin, spec.label)

    def _plugin(self, name: str) -> PersistentPlugin:
        plugin = self._persistent.get(name)
        if plugin is None:
            raise VolumeError(f"there is no plug-in {name}", left="unchanged")
        return plugin

    # --- a pod's volume -------------------------------------------------------

    async def _give(self, order: Order, wanted: Wanted) -> bool:
        plugin = wanted.key.plugin
        if order.kind == "expand":
            return await self._grow(wanted)
        if plugin in self._persistent:
            await self._publish(wanted, self._persistent[plugin], again=order.kind == "refresh")
            return order.kind == "mount"
        if plugin in self._contents:
            return await self._fill(wanted, self._contents[plugin])
        await self._mount(wanted, self._plugins[plugin])
        return True

    async def _mount(self, wanted: Wanted, plugin: Plugin) -> None:
        volume, path = wanted.volume, wanted.host_path
        if wanted.resolved is not None and wanted.resolved.spec.pv is not None:
            pv = wanted.resolved.spec.pv
            source = {kind: getattr(pv.spec, kind) for kind in wanted.resolved.spec.kinds}
            volume = msgspec.structs.replace(volume, persistentVolumeClaim=None, ephemeral=None, **source)
        if path:
            mounted = await self._look_at(path, lambda: plugin.set_up(wanted.pod, volume))
        else:
            mounted = await self._off_loop(lambda: plugin.set_up(wanted.pod, volume))
        self._book.mounted(wanted.key, mounted, self._clock.monotonic())

    async def _fill(self, wanted: Wanted, plugin: ContentPlugin) -> bool:
        """Set up a volume with contents, or renew them: it stays mounted meanwhile, and if that fails."""
        key = wanted.key
        try:
            content = await _within(
                _FETCH_LIMIT, "its contents could not be fetched", plugin.gather(wanted.pod, wanted.volume)
            )
        except VolumeError as error:
            raise VolumeError(str(error), left="unchanged") from error
        mounted, changed = await self._off_loop(lambda: plugin.set_up(wanted.pod, wanted.volume, content))
        now = self._clock.monotonic()
        spread = self._refresh_period * self._rng.uniform(0.8, 1.2)
        renewal = next_look(content.refresh_at, self._clock.now(), now, spread)
        self._book.mounted(key, mounted, now, renewal)
        return bool(changed)

    async def _publish(self, wanted: Wanted, plugin: PersistentPlugin, *, again: bool) -> None:
        key, resolved = wanted.key, wanted.resolved
        if resolved is None:
            return
        if not again and not wanted.block:
            await self._recover(key, plugin)
        call = plugin.set_up(resolved.spec, wanted.pod, again=again)
        mounted: MountedVolume = await _within(_CALL_LIMIT, "setting it up was not done", call)
        if not again:
            if wanted.block:
                self._telling.mapped(wanted, mounted, plugin.map_path(key.name))
            await self._grow_before_use(wanted)
        self._book.mounted(key, mounted, self._clock.monotonic())

    async def _recover(self, key: VolumeKey, plugin: PersistentPlugin) -> None:
        """Take away a mount whose server or daemon is gone: nothing can be set up over it."""
        path = plugin.mount_path(key.uid, key.name)
        try:
            if await self._look(path, lambda: mountpoint.healthy(path), LOOK_LIMIT):
                return
        except TimeoutError as error:
            raise VolumeError(f"{path} could not be looked at: {error}") from error
        except OSError:
            # Most often there is nothing yet.
            return
        tearing = plugin.tear_down(key.uid, key.name, block=False)
        await _within(_CALL_LIMIT, "taking away the corrupt mount was not done", tearing)

    async def _look_at(self, path: str, work: Callable[[], T]) -> T:
        try:
            found: T = await self._look(path, work, LOOK_LIMIT)
        except TimeoutError as error:
            raise VolumeError(f"{path} does not answer: {error}", left="unchanged") from error
        return found

    async def _unmount(self, key: VolumeKey) -> None:
        block = self._book.is_block(key)
        await self._off_loop(lambda: subpaths.clean(self._layout, key.uid, key.name))
        if key.plugin in self._persistent:
            tearing = self._persistent[key.plugin].tear_down(key.uid, key.name, block=block)
            await _within(_CALL_LIMIT, "tearing it down was not done", tearing)
        else:
            remover = self._removers[key.plugin]
            await self._off_loop(lambda: remover.tear_down(key.uid, key.name))
        self._book.gone(key, self._clock.monotonic())
        if key.plugin in self._contents:
            self._contents[key.plugin].gone(key.uid)

    async def _clean(self, uid: str) -> None:
        await self._off_loop(lambda: disk.remove_pod_directory(self._layout, uid))
        self._book.directories -= {uid}

    # --- sizes ----------------------------------------------------------------

    async def _grow_before_use(self, wanted: Wanted) -> None:
        """Expand what grew while no pod had it: a pod gets it in its full size, or not at all."""
        if not sizes.outgrown(wanted) or wanted.resolved is None:
            return
        if wanted.resolved.spec.read_only:
            self._telling.not_expanded(wanted, wanted.resolved.spec)
            return
        try:
            await self._grow(wanted)
        except (VolumeError, OSError) as error:
            step = "MarkVolumeAsMounted" if wanted.block else "Setup"
            step = f"{step} failed while expanding volume"
            raise VolumeError(str(error), left="something", step=step) from error

    async def _grow(self, wanted: Wanted) -> bool:
        """Let the file system have its volume's size; whether it was asked to.

        :raises VolumeError, OSError: it could not.
        """
        name, resolved = wanted.unique_name, wanted.resolved
        if resolved is None:
            return False
        plan = await _within(
            _FETCH_LIMIT, "its claim could not be read", self._claims.expanding(resolved.spec)
        )
        if plan.act == "wait":
            self._book.sizes.judged(name, resolved.spec)
            return False
        if plan.act == "settled":
            self._book.sizes.grew(name, plan.size)
            return False
        error: VolumeError | None = None
        plugin = self._plugin(wanted.key.plugin)
        try:
            await _within(
                _CALL_LIMIT, "expanding it was not done", plugin.expand(plan.spec, wanted.pod, plan.size)
            )
        except VolumeError as failure:
            error = failure
        else:
            # Before the claim hears of it, which may fail: the file system grew all the same.
            self._telling.expanded(wanted, plan.spec)
        await self._claims.expanded(plan, error)
        outcome = expansion.verdict(plan, error)
        if outcome == "failed" and error is not None:
            raise error
        if outcome == "in use":
            self._book.sizes.in_use(name)
            return False
        self._book.sizes.grew(name, plan.size)
        return True


def _step(order: Order, wanted: Wanted | None) -> str:
    step = order.refusal.step if order.refusal is not None else ""
    return "SetUpDevice" if step == "SetUp" and wanted is not None and wanted.block else step


async def _within(limit: float, what: str, call: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(limit):
            return await call
    except TimeoutError:
        raise VolumeError(f"{what} in {limit:.0f} s") from None
