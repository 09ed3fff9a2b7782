"""The sources of static pods that the configuration asks for, joined to the mux of all sources.

Which sources there are is known from the beginning, so that nothing counts as complete before each
was heard.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from pykubelet.base.tasks import TaskOwner
from pykubelet.pods.sources import FileSource, PodConfig, PushSource, UrlSource
from pykubelet.pods.sources.adopt import Running
from pykubelet.wiring.ground import Ground


class StaticSources:
    """Files, a URL and what is pushed, as far as they are configured."""

    def __init__(self, ground: Ground, node: str, mux: PodConfig, running: Running) -> None:
        """*running* tells, once that is known, what runs in the runtime."""
        clock, journal, events = ground.clock, ground.journal, ground.events
        self._clock = clock
        self._tasks = TaskOwner("sources")
        self._loops: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        #: Manifests that are pushed; None where that is not allowed.
        self.pushed: PushSource | None = None
        config = ground.loaded.config
        if config.staticPodPath:
            files = FileSource(
                Path(config.staticPodPath),
                node,
                mux.channel("file"),
                journal,
                events,
                running=running,
                period=config.fileCheckFrequency.seconds,
            )
            self._loops.append(("file", files.run))
        if config.staticPodURL:
            url = UrlSource(
                config.staticPodURL,
                config.staticPodURLHeader,
                node,
                mux.channel("http"),
                journal,
                events,
                clock,
                running=running,
                period=config.httpCheckFrequency.seconds,
            )
            self._loops.append(("URL", url.run))
        if ground.loaded.flags.enableManifestPush:
            self.pushed = PushSource(ground.layout.pushed_manifests, node, journal, events)
            self._loops.append(("push", partial(self.pushed.run, mux.channel("push"))))

    async def load(self) -> None:
        """Read what was pushed to the daemon before this one; before that nothing may be pushed."""
        if self.pushed is not None:
            await self.pushed.load()

    async def start(self) -> None:
        """Begin to tell of pods."""
        for name, loop in self._loops:
            self._tasks.forever(name, loop, pause=self._clock.sleep)

    async def stop(self) -> None:
        """Tell no more."""
        await self._tasks.close()

    async def close(self) -> None:
        """End changes of pushed manifests that are under way."""
        if self.pushed is not None:
            await self.pushed.close()
