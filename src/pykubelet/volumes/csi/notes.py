"""The kubelet's own traces around a driver's work: made before, removed after, kept when in doubt."""

import logging

from pykubelet.base.errors import VolumeError

from .. import errors
from . import traces
from .data_file import VolumeData
from .errors import CsiError
from .means import HEAD, Means, unchanged
from .paths import DATA_FILE, beside

log = logging.getLogger(__name__)


class Notes:
    """Writes data files, and knows which ones an earlier life wrote."""

    def __init__(self, means: Means) -> None:
        self._off_loop = means.off_loop
        #: Directories whose data file this life wrote first, or whose volume it has seen succeed.
        self._ours: set[str] = set()

    async def take(self, directory: str, data: VolumeData, mount: str = "") -> None:
        """Note in *directory* what the driver is about to be asked for; *mount* is made for it too.

        :raises VolumeError: it cannot be written; the driver must not be asked.
        """
        try:
            if await self._off_loop(lambda: traces.prepare(directory, data, mount)):
                self._ours.add(directory)
        except OSError as error:
            raise unchanged(f"{HEAD}failed to save volume info data: {errors.describe(error)}") from error

    async def make(self, directory: str) -> None:
        """Make a directory for a driver that needs nothing noted.

        :raises VolumeError: it cannot be made.
        """
        try:
            await self._off_loop(lambda: traces.make(directory))
        except OSError as error:
            told = errors.describe(error)
            text = f'{HEAD}attacher.MountDevice failed to create dir "{directory}":  {told}'
            raise unchanged(text) from error

    def succeeded(self, directory: str) -> None:
        """The driver did what is noted in *directory*."""
        self._ours.add(directory)

    def is_ours(self, directory: str) -> bool:
        """Whether what is noted in *directory* is of this life alone.

        After an earlier one nothing goes on a mere refusal: its driver may have made what
        this one's refuses.
        """
        return directory in self._ours

    def forget(self, directory: str) -> None:
        """What was noted in *directory* is gone."""
        self._ours.discard(directory)

    async def failed(self, error: CsiError, mount: str) -> VolumeError:
        """The error of a driver that failed at *mount*; traces go when it has surely made nothing."""
        if error.uncertain or not self.is_ours(beside(mount)):
            return VolumeError(str(error), left="something")
        try:
            removed = await self._remove(mount)
        except OSError as problem:
            log.warning("%s is left after a failure: %s", mount, errors.describe(problem))
            removed = False
        return VolumeError(str(error), left="nothing" if removed else "something")

    async def clean_up(self, mount: str, text: str) -> None:
        """Remove what is beside *mount* after the driver undid its part.

        :raises VolumeError: something is left; *text* stands before the cause.
        """
        try:
            removed = await self._remove(mount)
        except OSError as error:
            raise VolumeError(f"{HEAD}{text}: {errors.describe(error)}") from error
        if not removed:
            raise VolumeError(f"{HEAD}{text}: the driver left {mount} mounted")

    async def clean_up_bare(self, mount: str) -> None:
        """Nothing is noted beside *mount*: remove names without contents, and nothing else.

        :raises VolumeError: something is in use there, and nobody knows whose it is.
        """
        if not await self._off_loop(lambda: traces.is_bare(mount)):
            path = f"{beside(mount)}/{DATA_FILE}"
            text = f"failed to open volume data file [{path}]: no such file or directory"
            raise unchanged(f"{HEAD}{text}, while {mount} is in use")
        await self.clean_up(mount, f"failed to clean up {mount}")

    async def _remove(self, mount: str) -> bool:
        removed = await self._off_loop(lambda: traces.remove(mount))
        if removed:
            self.forget(beside(mount))
        return removed
