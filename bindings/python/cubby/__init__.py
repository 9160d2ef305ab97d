# SPDX-License-Identifier: Apache-2.0
"""cubby: commands in throw-away virtual machines, from Python.

::

    import asyncio
    from cubby import SimpleBox

    async def main():
        async with SimpleBox(image="python:slim") as box:
            result = await box.exec("python", "-c", "print(2 + 2)")
            print(result.exit_code, result.stdout)

    asyncio.run(main())

A command's own failure is a result; what is raised is a :class:`BoxliteError` and says that something around the command
failed. Everything works in any number of event loops, in any number of threads; the classes that begin with ``Sync`` need
none. A box is a child of this process and ends with it at the latest.

The library, libcubby.so.1, is loaded when it is first needed; ``python -m cubby doctor`` tells whether this host can run
boxes. ``CUBBY_LOG=debug`` in the environment shows what happens, on stderr.
"""
from __future__ import annotations

from .box import Box
from .errors import (ArgumentError, BootError, BoxliteError, CommandNotFoundError, ConfigError, CubbyError, ExecError,
                     ExistsError, FileError, GuestLostError, GuestStorageError, ImageError, ImageNotFoundError,
                     InternalError, KvmError, LibraryError, NotExecutableError, NotFoundError, ParseError,
                     ProtocolError, ResourceError, SpawnError, StateError, StoppedError, StorageError, TimeoutError,
                     UnsupportedError)
from .execution import ExecStdin, Execution
from .host import Check, doctor, library_version
from .options import BoxOptions, CopyOptions, ImageRegistry, Options
from .results import (BoxInfo, BoxStateInfo, CopyReport, ExecResult, ExecStatus, ImageInfo, PullProgress)
from .runtime import Boxlite, ImageHandle
from .simplebox import SimpleBox
from .sync import SyncBox, SyncBoxlite, SyncExecStdin, SyncExecution, SyncImageHandle, SyncSimpleBox

__version__ = "0.1.0"

__all__ = [
    "ArgumentError", "BootError", "Box", "BoxInfo", "BoxOptions", "BoxStateInfo", "Boxlite", "BoxliteError", "Check",
    "CommandNotFoundError", "ConfigError", "CopyOptions", "CopyReport", "CubbyError", "ExecError", "ExecResult",
    "ExecStatus", "ExecStdin", "Execution", "ExistsError", "FileError", "GuestLostError", "GuestStorageError",
    "ImageError", "ImageHandle", "ImageInfo", "ImageNotFoundError", "ImageRegistry", "InternalError", "KvmError",
    "LibraryError", "NotExecutableError", "NotFoundError", "Options", "ParseError", "ProtocolError", "PullProgress",
    "ResourceError", "SimpleBox", "SpawnError", "StateError", "StoppedError", "StorageError", "SyncBox", "SyncBoxlite",
    "SyncExecStdin", "SyncExecution", "SyncImageHandle", "SyncSimpleBox", "TimeoutError", "UnsupportedError", "doctor",
    "library_version",
]
