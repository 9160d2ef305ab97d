# SPDX-License-Identifier: Apache-2.0
"""A box in an event loop."""
from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Optional, Sequence, Type, Union

from . import _library as lib
from ._core import grace
from ._facts import BoxFacts
from ._native import NativeExec
from ._output import Collected, outcome
from ._watch import in_thread
from .errors import TimeoutError as CubbyTimeoutError
from .execution import Execution, let_run
from .options import CopyOptions, Environment, ExecRequest, Path, request
from .results import BoxInfo, CopyReport, ExecResult, result_of

__all__ = ["Box"]


class Box(BoxFacts):
    """A virtual machine that runs commands. Made by :meth:`cubby.Boxlite.create`; any number of objects may stand for one
    box, and be used from several event loops.

    As an asynchronous context manager it is started at the beginning and stopped at the end.
    """

    def __repr__(self) -> str:
        return f"<cubby.Box {self._core.name or self._core.id}>"

    async def __aenter__(self) -> "Box":
        await self.start()
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        await self.stop()

    async def start(self) -> None:
        """Starts it and returns when it is ready; one that runs is fine. Raises BootError, KvmError and others, StateError
        when it was removed. Cancelled, it goes on starting."""
        self._core.launch()
        await self.wait_until_ready()

    async def wait_until_ready(self, timeout: Optional[float] = None) -> None:
        """Returns when it is ready for commands; `timeout` in seconds. Raises TimeoutError, and why it did not become
        ready."""
        if not await self._core.native.settled(timeout):
            raise CubbyTimeoutError(f"the box is not ready after {timeout:g} s", -11, "timeout")
        error = self._core.ready_error()
        if error:
            raise error

    async def stop(self, grace_s: Optional[float] = None) -> None:
        """Stops it, and removes it unless it was made with ``auto_remove=False``: the guest has `grace_s` seconds (default
        2) to power off. Again is fine. Cancelled, it is stopped all the same."""
        if self._core.native.state() == lib.CONFIGURED:
            self._core.stop(0)  # nothing to wait for
        else:
            limit = grace(grace_s)
            await in_thread(lambda _cancel: self._core.stop(limit))

    async def info(self) -> BoxInfo:
        """What is known of it now."""
        return self._core.info()

    async def console(self) -> str:
        """The last lines that its kernel wrote, once it has ended; for whoever looks for why it did."""
        return self._core.native.console()

    async def exec(self, command: str, args: Optional[Sequence[str]] = None, env: Optional[Environment] = None,
                   tty: bool = False, user: Optional[str] = None, timeout_secs: Optional[float] = None,
                   cwd: Optional[str] = None) -> Execution:
        """Starts a command and returns when it runs.

        A box that was not started, or was stopped, is started. ``env`` goes over that of the box and its image. With
        ``tty`` it has a terminal: stderr is stdout then. After ``timeout_secs`` all its processes get SIGTERM and two
        seconds later SIGKILL; its result says so. Its stdin is open until it is closed.

        Raises CommandNotFoundError, NotExecutableError, SpawnError, all RuntimeErrors, when it cannot be started, and
        what start() raises. Cancelled before it returned, the command is ended.
        """
        argv = [command, *(args or ())]
        return Execution(self._core, await self._begin(request(self._core.options, argv, env, user, timeout_secs, cwd,
                                                               stdin=True, tty=tty)))

    async def run(self, command: str, *args: str, env: Optional[Environment] = None, user: Optional[str] = None,
                  timeout: Optional[float] = None, cwd: Optional[str] = None,
                  input: Union[bytes, str, None] = None) -> ExecResult:
        """Runs a command and returns its output when it has ended. ``input`` is its stdin, else that is empty; a str goes
        as UTF-8. All output is kept in memory. Arguments and exceptions else as of exec(). Cancelled, the command goes on
        until its box ends, and nobody reads its output: give it a ``timeout`` to have it ended."""
        given = input.encode("utf-8") if isinstance(input, str) else input
        native = await self._begin(request(self._core.options, [command, *args], env, user, timeout, cwd,
                                           stdin=given is not None))
        collected = Collected(native, given)
        try:
            bits = native.watch.look()
            while not collected.advance(bits):
                await asyncio.sleep(0)  # one that never runs dry lets others run
                bits = await native.watch.wait(collected.wanted())
        except asyncio.CancelledError:
            let_run(self._core, native, asyncio.get_running_loop())
            raise
        self._core.forget(native)
        return result_of(outcome(native, bits), *collected.output())

    async def _begin(self, what: ExecRequest) -> NativeExec:
        await self._usable()
        native = self._core.exec(what)
        try:
            bits = await native.watch.wait(lib.IS_STARTED | lib.IS_ENDED)
            if not bits & lib.IS_STARTED:
                outcome(native, bits)
        except BaseException:
            self._core.forget(native)
            raise
        return native

    async def _usable(self) -> None:
        self._core.launch_for_use()
        await self._core.native.settled()

    async def copy_in(self, host_path: Path, box_path: Path, options: Optional[CopyOptions] = None) -> CopyReport:
        """Copies a file or folder into the box, as ``cp -a`` and ``docker cp`` do; `box_path` is absolute, and may be on
        any mount of the box. Each file appears whole or not at all. Raises NotFoundError, FileError, ExistsError,
        GuestStorageError… Cancelled, the copy is given up; what is in place stays."""
        o = options or CopyOptions()
        await self._usable()
        return await in_thread(lambda cancel: self._core.copy(True, host_path, box_path, o, cancel))

    async def copy_out(self, box_path: Path, host_path: Path, options: Optional[CopyOptions] = None) -> CopyReport:
        """The same from the box to this host."""
        o = options or CopyOptions()
        await self._usable()
        return await in_thread(lambda cancel: self._core.copy(False, box_path, host_path, o, cancel))
