# SPDX-License-Identifier: Apache-2.0
"""One box, made, used and ended in a few lines."""
from __future__ import annotations

from types import TracebackType
from typing import Optional, Type, Union

from ._facts import SimpleFacts
from .box import Box
from .options import CopyOptions, Environment, Path
from .results import BoxInfo, CopyReport, ExecResult
from .runtime import Boxlite

__all__ = ["SimpleBox"]


class SimpleBox(SimpleFacts[Boxlite, Box]):
    """A box for the length of a ``async with``::

        async with SimpleBox(image="python:slim") as box:
            result = await box.exec("python", "-c", "print(2 + 2)")

    It is made and started at the beginning, and stopped and removed at the end. Arguments are those of
    :class:`cubby.BoxOptions`, all by name; ``runtime`` is the default one. With ``reuse_existing`` a box of the same
    ``name`` is used in place of a new one.
    """

    _how = "'async with SimpleBox(…) as box', or await box.start()"

    async def __aenter__(self) -> "SimpleBox":
        return await self.start()

    async def __aexit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        await self.stop()

    async def start(self) -> "SimpleBox":
        """Makes the box and returns when it is ready; again is fine. Raises ImageError, BootError, KvmError…; of a box
        that does not become ready nothing is left, and so it is when this is cancelled."""
        if self._box is None:
            runtime = self._runtime or Boxlite.default()
            if self._reuse:
                box, self._created = await runtime.get_or_create(self._options)
            else:
                box, self._created = await runtime.create(self._options), True
            try:
                await box.start()
            except BaseException:
                if self._created:
                    box._core.remove()
                raise
            self._box = box
        return self

    async def stop(self) -> None:
        """Stops the box, and removes it unless ``auto_remove=False``. Again is fine."""
        if self._box is not None:
            await self._box.stop()

    async def shutdown(self) -> None:
        """The same as stop()."""
        await self.stop()

    async def info(self) -> BoxInfo:
        """What is known of the box now."""
        return await self.box.info()

    async def exec(self, cmd: str, *args: str, env: Optional[Environment] = None, user: Optional[str] = None,
                   timeout: Optional[float] = None, cwd: Optional[str] = None,
                   input: Union[bytes, str, None] = None) -> ExecResult:
        """Runs a command and returns its result; see :meth:`cubby.Box.run`. A command's own failure is a result, its
        timeout and its signal included; what is raised says that it could not be started."""
        return await self.box.run(cmd, *args, env=env, user=user, timeout=timeout, cwd=cwd, input=input)

    async def copy_in(self, host_path: Path, container_dest: Path, *, overwrite: bool = True,
                      follow_symlinks: bool = False, include_parent: bool = True) -> CopyReport:
        """Copies into the box; see :meth:`cubby.Box.copy_in` and :class:`cubby.CopyOptions`."""
        return await self.box.copy_in(host_path, container_dest, CopyOptions(
            overwrite=overwrite, follow_symlinks=follow_symlinks, include_parent=include_parent))

    async def copy_out(self, container_src: Path, host_dest: Path, *, overwrite: bool = True,
                       follow_symlinks: bool = False, include_parent: bool = True) -> CopyReport:
        """Copies out of the box."""
        return await self.box.copy_out(container_src, host_dest, CopyOptions(
            overwrite=overwrite, follow_symlinks=follow_symlinks, include_parent=include_parent))
