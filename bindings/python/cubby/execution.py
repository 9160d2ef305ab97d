# SPDX-License-Identifier: Apache-2.0
"""Executions in an event loop.

Theory of operation. Nothing runs on its own: each coroutine asks for the bits that it needs by the execution's Watch and
acts on them. Output that nobody reads is held by libcubby up to a limit, and then the command waits; wait() takes it into
memory meanwhile, so that one who only waits is not waited for.
"""
from __future__ import annotations

import asyncio
from typing import AsyncIterator, Optional, Union

from . import _library as lib
from ._core import BoxCore
from ._native import NativeExec
from ._output import LINE_HOLD_S, Held, Lines, outcome
from .errors import StateError
from .options import number
from .results import ExecStatus

__all__ = ["ExecStdin", "Execution"]


class ExecStdin:
    """Writes to a command's stdin."""

    def __init__(self, execution: "Execution") -> None:
        self._execution = execution
        self._lock = asyncio.Lock()

    async def send_input(self, data: Union[bytes, bytearray, memoryview, str]) -> None:
        """Returns when all of it is on its way; a str goes as UTF-8. Two at once do not mix. Raises StateError when the
        command closed its stdin or has ended, or close() was called. Cancelled, a part of it may have gone."""
        native = self._execution._native
        rest = memoryview(data.encode("utf-8") if isinstance(data, str) else data).cast("B")
        async with self._lock:
            while rest:
                taken = native.write(rest)
                native.watch.look()
                rest = rest[taken:]
                if taken:
                    continue
                if await native.watch.wait(lib.CAN_WRITE | lib.IS_ENDED) & lib.IS_ENDED:
                    raise StateError("the command has ended", -20, "closed")

    async def close(self) -> None:
        """The command reads end of file. Again is fine."""
        async with self._lock:
            self._execution._native.close_stdin()


class _Pieces(AsyncIterator[bytes]):
    """The bytes of one stream, as they come."""

    def __init__(self, execution: "Execution", stream: int) -> None:
        self._execution = execution
        self._held = execution._held[stream]

    async def __anext__(self) -> bytes:
        piece = await self._execution._read(self._held)
        if not piece:
            raise StopAsyncIteration
        return piece


class _Lines(AsyncIterator[str]):
    """The text of one stream: whole lines, and what comes without an end of line after a moment."""

    def __init__(self, execution: "Execution", stream: int) -> None:
        self._execution = execution
        self._held = execution._held[stream]
        self._lines = Lines()

    async def __anext__(self) -> str:
        while True:
            line = self._lines.next()
            if line:
                return line
            if self._lines.ended:
                raise StopAsyncIteration
            hold = LINE_HOLD_S if self._lines.started else None
            piece = await self._execution._read(self._held, hold)
            if piece is None:
                return self._lines.flush()
            self._lines.feed(piece)


class Execution:
    """A command that runs in a box. It goes on whether or not anybody waits for it, until it ends, or its box does."""

    def __init__(self, box: BoxCore, native: NativeExec) -> None:
        self._box = box
        self._native = native
        self._loop = asyncio.get_running_loop()
        self._held = {s: Held(s) for s in (lib.STDOUT, lib.STDERR)}
        self._stdin: Optional[ExecStdin] = None
        self._status: Optional[ExecStatus] = None

    def __del__(self) -> None:
        native = self._native
        if native.inherited():
            return
        if self._status is None and not native.bits() & lib.IS_ENDED:
            let_run(self._box, native, self._loop)
        else:
            self._box.forget(native)

    def __repr__(self) -> str:
        return f"<cubby.Execution {self.id} in {self._box.id}>"

    @property
    def id(self) -> str:
        """Unique in its box."""
        return str(self._native.id())

    def stdin(self) -> ExecStdin:
        """Its stdin, once. Raises StateError, a RuntimeError, the second time."""
        if self._stdin is not None:
            raise StateError("stdin stream not available: it was taken before")
        self._stdin = ExecStdin(self)
        return self._stdin

    def stdout(self) -> AsyncIterator[str]:
        """Its stdout as text, once: an asynchronous iterator over whole lines with their ends; of a line without an end
        what there is comes after a moment. UTF-8, what is none replaced by U+FFFD; a character is never torn. Raises
        StateError, a RuntimeError, when it was taken before."""
        return _Lines(self, self._take(lib.STDOUT))

    def stderr(self) -> AsyncIterator[str]:
        """Its stderr, likewise. With a terminal there is none: all is stdout."""
        return _Lines(self, self._take(lib.STDERR))

    def stdout_bytes(self) -> AsyncIterator[bytes]:
        """In place of stdout(): bytes, in pieces as they come."""
        return _Pieces(self, self._take(lib.STDOUT))

    def stderr_bytes(self) -> AsyncIterator[bytes]:
        """In place of stderr(), likewise."""
        return _Pieces(self, self._take(lib.STDERR))

    def _take(self, stream: int) -> int:
        self._held[stream].take()
        return stream

    async def _read(self, held: Held, timeout: Optional[float] = None) -> Optional[bytes]:
        """The next piece of a stream: b"" at its end, None when `timeout` seconds passed without one."""
        await asyncio.sleep(0)  # a stream that never runs dry lets others run; nothing is read yet that could get lost
        while True:
            piece = held.read(self._native)
            self._native.watch.look()
            if piece is not None:
                return piece
            bits = await self._native.watch.wait(held.bit | lib.IS_ENDED, timeout)
            if timeout is not None and not bits & (held.bit | lib.IS_ENDED):
                return None

    async def wait(self) -> ExecStatus:
        """How it ended; any number of times and at once. Cancelled, nothing happens to the command.

        A stream that nobody has taken is kept in memory meanwhile, up to 64 MiB; it is still there for stdout() and
        stderr(). Of a box that stops or dies while the command runs the result says so in its ``error_message``.
        """
        while self._status is None:
            wanted = lib.IS_ENDED
            for held in self._held.values():
                wanted |= held.wanted()
            bits = await self._native.watch.wait(wanted)
            for held in self._held.values():
                if bits & held.wanted():
                    held.keep(self._native)
                    self._native.watch.look()
            if bits & lib.IS_ENDED:
                self._status = outcome(self._native, bits)
                self._box.forget(self._native)
        return self._status

    async def kill(self) -> None:
        """SIGKILL to all its processes, those that have moved away included. Fine when it has ended."""
        self._native.kill()
        self._native.watch.look()

    async def signal(self, signum: int, tree: bool = False) -> None:
        """Sends signal `signum`, 1 to 64, to its first process, or with `tree` to all. Fine when it has ended. Raises
        ArgumentError."""
        self._native.signal(number(int(signum), "signum", 1, 64), tree)
        self._native.watch.look()

    async def resize_tty(self, rows: int, cols: int) -> None:
        """The new size of its terminal, each 1 to 65535. Raises ArgumentError, StateError when it has none."""
        self._native.resize(number(rows, "rows", 1, 65535), number(cols, "cols", 1, 65535))
        self._native.watch.look()


class _Drain:
    """Reads and throws away what a command writes that nobody waits for, so that it goes on."""

    def __init__(self, box: BoxCore, native: NativeExec, loop: asyncio.AbstractEventLoop) -> None:
        self._box, self._native, self._loop = box, native, loop

    def begin(self) -> None:
        """In the loop."""
        self._loop.add_reader(self._native.watch.fd, self._ready)
        self._ready()

    def _ready(self) -> None:
        bits = self._native.bits()
        if bits & lib.IS_ENDED:
            self._loop.remove_reader(self._native.watch.fd)
            self._box.forget(self._native)
        # A piece of each at a time, so that others run, too; what is left in the library does not wake us again.
        elif [s for s in (lib.STDOUT, lib.STDERR) if self._native.read(s)]:
            self._loop.call_soon(self._ready)


def let_run(box: BoxCore, native: NativeExec, loop: asyncio.AbstractEventLoop) -> None:
    """A command of which nobody wants to know any more runs on, until its box ends. Any thread. When the loop ends nobody
    reads its output any more."""
    try:
        loop.call_soon_threadsafe(_Drain(box, native, loop).begin)
    except RuntimeError:
        pass  # the loop was closed
