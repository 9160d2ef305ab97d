# SPDX-License-Identifier: Apache-2.0
"""Boxes and images of one home, in an event loop."""
from __future__ import annotations

from types import TracebackType
from typing import Callable, List, Optional, Tuple, Type

from ._core import BoxCore, RuntimeCore, grace
from ._watch import in_thread
from .box import Box
from .options import BoxOptions, Options, Path
from .results import BoxInfo, ImageInfo, PullProgress

__all__ = ["Boxlite", "ImageHandle"]


class ImageHandle:
    """The images of a runtime's home. Any number of processes may use one home."""

    def __init__(self, core: RuntimeCore) -> None:
        self._core = core

    async def pull(self, reference: str, platform: Optional[str] = None, policy: str = "missing",
                   progress: Optional[Callable[[PullProgress], object]] = None) -> ImageInfo:
        """Fetches an image. ``platform`` is "linux/arm64" and the like, default this host's; ``policy`` "missing",
        "always" (the registry is asked again) or "never". ``progress`` is called in another thread. Raises
        ImageNotFoundError, ImageError, StorageError. Cancelled, the pull is given up; the next one goes on from
        there."""
        return await in_thread(lambda cancel: self._core.pull(reference, platform, policy, progress, cancel))

    async def list(self) -> List[ImageInfo]:
        """All that are there, by reference."""
        return await in_thread(lambda _cancel: self._core.list_images())

    async def get(self, reference: str, platform: Optional[str] = None) -> ImageInfo:
        """One that is there, by reference or by the first four or more digits of its id. Raises ImageNotFoundError."""
        return await in_thread(lambda _cancel: self._core.image(reference, platform))

    async def remove(self, reference: str, platform: Optional[str] = None) -> None:
        """Forgets a reference. Raises ImageNotFoundError."""
        await in_thread(lambda _cancel: self._core.remove_image(reference, platform))

    async def load(self, path: Path, name: Optional[str] = None) -> List[ImageInfo]:
        """Takes images from an OCI layout, an archive of ``docker save``, or a root file system. ``name`` is the
        reference of a single one, else the file's. Cancelled, it is given up."""
        return await in_thread(lambda cancel: self._core.load_images(path, name, cancel))


def _remove(core: BoxCore) -> None:
    core.remove()


class Boxlite:
    """A runtime: makes boxes and finds those that it has made.

    What blocks, the pull of an image above all, runs in a thread of its own; commands need none.
    As an asynchronous context manager it is closed at the end.
    """

    def __init__(self, options: Optional[Options] = None) -> None:
        self._core = RuntimeCore(options)

    @classmethod
    def default(cls) -> "Boxlite":
        """That of this process, with the default home: the same whoever asks, SyncBoxlite included."""
        made = cls.__new__(cls)
        made._core = RuntimeCore.default()
        return made

    async def __aenter__(self) -> "Boxlite":
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        await self.shutdown()

    @property
    def images(self) -> ImageHandle:
        """Its images."""
        return ImageHandle(self._core)

    async def create(self, options: Optional[BoxOptions] = None, name: Optional[str] = None) -> Box:
        """Makes a box, which is started by start() or by its first command. Raises ImageError, ArgumentError,
        UnsupportedError, ExistsError for a name that is taken… Cancelled, the pull is given up and there is no box."""
        o = options or BoxOptions()
        return Box(await in_thread(lambda cancel: self._core.create(o, name, cancel), undo=_remove))

    async def get(self, id_or_name: str) -> Optional[Box]:
        """The box of this name, id, or the first four or more characters of an id; None when there is none."""
        core = self._core.find(id_or_name)
        return Box(core) if core else None

    async def get_or_create(self, options: Optional[BoxOptions] = None,
                            name: Optional[str] = None) -> Tuple[Box, bool]:
        """(the box of this name, False), or (a new one, True)."""
        wanted = name if name is not None or options is None else options.name
        found = self._core.find(wanted) if wanted is not None else None
        return (Box(found), False) if found else (await self.create(options, name), True)

    async def get_info(self, id_or_name: str) -> Optional[BoxInfo]:
        """What is known of a box; None when there is none."""
        core = self._core.find(id_or_name)
        return core.info() if core else None

    async def list_info(self) -> List[BoxInfo]:
        """What is known of each box, oldest first."""
        return self._core.list()

    async def remove(self, id_or_name: str, force: bool = False) -> None:
        """Removes a box; with ``force`` also one that runs. Raises NotFoundError, StateError."""
        await in_thread(lambda _cancel: self._core.remove(id_or_name, force))

    async def shutdown(self, timeout: Optional[float] = None) -> None:
        """Stops and removes all its boxes, each within `timeout` seconds (default 2) and one more; the runtime is of no
        more use. Again is fine."""
        limit = grace(timeout)
        await in_thread(lambda _cancel: self._core.close(limit))

    async def close(self) -> None:
        """The same as shutdown()."""
        await self.shutdown()
