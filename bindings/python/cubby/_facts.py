# SPDX-License-Identifier: Apache-2.0
"""What a box says of itself at once, with an event loop and without one."""
from __future__ import annotations

from typing import Any, Generic, Optional, TypeVar

from ._core import BoxCore
from .errors import StateError
from .options import BoxOptions, Path

BoxT = TypeVar("BoxT", bound="BoxFacts")
RuntimeT = TypeVar("RuntimeT")


class BoxFacts:
    """What Box and SyncBox have in common."""

    def __init__(self, core: BoxCore) -> None:
        self._core = core

    @property
    def id(self) -> str:
        """12 characters of a-z and 0-9, unique on this host."""
        return self._core.id

    @property
    def name(self) -> Optional[str]:
        """As it was made with."""
        return self._core.name

    @property
    def options(self) -> BoxOptions:
        """What it was made with."""
        return self._core.options


class SimpleFacts(Generic[RuntimeT, BoxT]):
    """What SimpleBox and SyncSimpleBox have in common."""

    _how = ""  # to start one, in the words of an error

    def __init__(self, image: Optional[str] = None, rootfs_path: Optional[Path] = None,
                 memory_mib: Optional[int] = None, cpus: Optional[int] = None, runtime: Optional[RuntimeT] = None,
                 name: Optional[str] = None, auto_remove: bool = True, reuse_existing: bool = False,
                 **options: Any) -> None:
        self._options = BoxOptions(image=image, rootfs_path=rootfs_path, memory_mib=memory_mib, cpus=cpus, name=name,
                                   auto_remove=auto_remove, **options)
        self._runtime = runtime
        self._reuse = reuse_existing
        self._box: Optional[BoxT] = None
        self._created: Optional[bool] = None

    @property
    def box(self) -> BoxT:
        """The box itself, for executions and more. Raises StateError before it is started, as all that follows does."""
        if self._box is None:
            raise StateError(f"the box is not started: use {self._how}", -18, "wrong-state")
        return self._box

    @property
    def id(self) -> str:
        """Of the box."""
        return self.box.id

    @property
    def name(self) -> Optional[str]:
        """As it was made with."""
        return self._options.name

    @property
    def created(self) -> Optional[bool]:
        """Whether the box was made; False for one that was there; None before the start."""
        return self._created
