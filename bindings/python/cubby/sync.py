# SPDX-License-Identifier: Apache-2.0
"""The same without an event loop: calls that block. They may be used from any thread, several at once on one object.

Theory of operation. libcubby wakes each thread that waits for what it waits for; the main thread waits in slices, because
Python runs signal handlers (Ctrl-C) only between two calls.
"""
from __future__ import annotations

import os
import threading
import time
from types import TracebackType
from typing import Callable, Iterator, List, Optional, Sequence, Tuple, Type, TypeVar, Union

from . import _library as lib
from ._core import BoxCore, RuntimeCore, grace
from ._facts import BoxFacts, SimpleFacts
from ._native import NativeExec
from ._output import LINE_HOLD_S, Collected, Held, Lines, outcome
from .errors import StateError, TimeoutError as CubbyTimeoutError
from .options import BoxOptions, CopyOptions, Environment, ExecRequest, Options, Path, number, request
from .results import BoxInfo, CopyReport, ExecResult, ExecStatus, ImageInfo, PullProgress, result_of

__all__ = ["SyncBox", "SyncBoxlite", "SyncExecStdin", "SyncExecution", "SyncImageHandle", "SyncSimpleBox"]

SLICE_S = 0.2
T = TypeVar("T")


def _wait(native: NativeExec, wanted: int, timeout: Optional[float] = None) -> int:
    """The bits that hold, when one of `wanted` does or after `timeout` seconds."""
    until = None if timeout is None else time.monotonic() + timeout
    while True:
        left = None if until is None else max(0.0, until - time.monotonic())
        piece = left
        if threading.current_thread() is threading.main_thread():
            piece = SLICE_S if left is None else min(left, SLICE_S)
        bits = native.wait(wanted, lib.FOREVER if piece is None else int(piece * 1000 + 0.999))
        if bits & wanted or (until is not None and time.monotonic() >= until):
            return bits


def _blocking(call: Callable[[int], T]) -> T:
    """call(cancel_fd), and its result. In the main thread Ctrl-C gives it up: another thread is in C then."""
    if threading.current_thread() is not threading.main_thread():
        return call(-1)
    results: List[T] = []
    errors: List[BaseException] = []
    reader, writer = os.pipe()

    def work() -> None:
        try:
            results.append(call(reader))
        except BaseException as e:
            errors.append(e)

    thread = threading.Thread(target=work, name="cubby")
    try:
        thread.start()
        try:
            thread.join()
        except BaseException:
            os.write(writer, b"x")
            thread.join()
            raise
    finally:
        os.close(reader)
        os.close(writer)
    if errors:
        raise errors[0]
    return results[0]


class SyncExecStdin:
    """Writes to a command's stdin."""

    def __init__(self, native: NativeExec) -> None:
        self._native = native
        self._lock = threading.Lock()

    def send_input(self, data: Union[bytes, bytearray, memoryview, str]) -> None:
        """Returns when all of it is on its way; a str goes as UTF-8. Raises StateError when nobody reads it any more."""
        rest = memoryview(data.encode("utf-8") if isinstance(data, str) else data).cast("B")
        with self._lock:
            while rest:
                taken = self._native.write(rest)
                rest = rest[taken:]
                if not taken and _wait(self._native, lib.CAN_WRITE | lib.IS_ENDED) & lib.IS_ENDED:
                    raise StateError("the command has ended", -20, "closed")

    def close(self) -> None:
        """The command reads end of file. Again is fine."""
        with self._lock:
            self._native.close_stdin()


class SyncExecution:
    """A command that runs in a box; see :class:`cubby.Execution`."""

    def __init__(self, box: BoxCore, native: NativeExec) -> None:
        self._box = box
        self._native = native
        self._held = {s: Held(s) for s in (lib.STDOUT, lib.STDERR)}
        self._lock = threading.Lock()
        self._stdin: Optional[SyncExecStdin] = None
        self._status: Optional[ExecStatus] = None

    def __del__(self) -> None:
        # One that runs goes on until its box ends, or until it has written more than is held for a reader.
        if not self._native.inherited() and self._native.bits() & lib.IS_ENDED:
            self._box.forget(self._native)

    @property
    def id(self) -> str:
        """Unique in its box."""
        return str(self._native.id())

    def stdin(self) -> SyncExecStdin:
        """Its stdin, once. Raises StateError the second time."""
        if self._stdin is not None:
            raise StateError("stdin stream not available: it was taken before")
        self._stdin = SyncExecStdin(self._native)
        return self._stdin

    def stdout(self) -> Iterator[str]:
        """Its stdout as text, once: lines, and what there is of one without an end after a moment."""
        return self._lines(self._take(lib.STDOUT))

    def stderr(self) -> Iterator[str]:
        """Its stderr, likewise."""
        return self._lines(self._take(lib.STDERR))

    def stdout_bytes(self) -> Iterator[bytes]:
        """In place of stdout(): bytes, in pieces as they come."""
        return self._pieces(self._take(lib.STDOUT))

    def stderr_bytes(self) -> Iterator[bytes]:
        """In place of stderr(), likewise."""
        return self._pieces(self._take(lib.STDERR))

    def _take(self, stream: int) -> Held:
        with self._lock:
            self._held[stream].take()
        return self._held[stream]

    def _read(self, held: Held, timeout: Optional[float] = None) -> Optional[bytes]:
        piece = held.read(self._native)
        while piece is None:
            bits = _wait(self._native, held.bit | lib.IS_ENDED, timeout)
            if timeout is not None and not bits & (held.bit | lib.IS_ENDED):
                return None
            piece = held.read(self._native)
        return piece

    def _pieces(self, held: Held) -> Iterator[bytes]:
        piece = self._read(held)
        while piece:
            yield piece
            piece = self._read(held)

    def _lines(self, held: Held) -> Iterator[str]:
        lines = Lines()
        while True:
            line = lines.next()
            if line:
                yield line
            elif lines.ended:
                return
            else:
                piece = self._read(held, LINE_HOLD_S if lines.started else None)
                if piece is None:
                    yield lines.flush()
                else:
                    lines.feed(piece)

    def wait(self, timeout: Optional[float] = None) -> ExecStatus:
        """How it ended; any number of times. After `timeout` seconds raises TimeoutError, which does nothing to the
        command. What nobody reads is kept as :meth:`cubby.Execution.wait` does it."""
        until = None if timeout is None else time.monotonic() + timeout
        while self._status is None:
            with self._lock:
                wanted = lib.IS_ENDED
                for held in self._held.values():
                    wanted |= held.wanted()
            left = None if until is None else max(0.0, until - time.monotonic())
            bits = _wait(self._native, wanted, left)
            with self._lock:
                for held in self._held.values():
                    if bits & held.wanted():
                        held.keep(self._native)
            if bits & lib.IS_ENDED:
                self._status = outcome(self._native, bits)
                self._box.forget(self._native)
            elif until is not None and time.monotonic() >= until:
                raise CubbyTimeoutError(f"the command has not ended after {timeout:g} s", -11, "timeout")
        return self._status

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        self._native.kill()

    def signal(self, signum: int, tree: bool = False) -> None:
        """Sends a signal to its first process, or with `tree` to all."""
        self._native.signal(number(int(signum), "signum", 1, 64), tree)

    def resize_tty(self, rows: int, cols: int) -> None:
        """The new size of its terminal."""
        self._native.resize(number(rows, "rows", 1, 65535), number(cols, "cols", 1, 65535))


class SyncBox(BoxFacts):
    """A box; see :class:`cubby.Box`, whose methods these are."""

    def __enter__(self) -> "SyncBox":
        self.start()
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it and returns when it is ready."""
        self._core.launch()
        self.wait_until_ready()

    def wait_until_ready(self, timeout: Optional[float] = None) -> None:
        """Returns when it is ready for commands. Raises TimeoutError, and why it did not become ready."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._core.native.wait_ready(int(SLICE_S * 1000)):
            if until is None or time.monotonic() < until:
                continue
            raise CubbyTimeoutError(f"the box is not ready after {timeout:g} s", -11, "timeout")
        error = self._core.ready_error()
        if error:
            raise error

    def stop(self, grace_s: Optional[float] = None) -> None:
        """Stops it, and removes it unless it was made with ``auto_remove=False``."""
        limit = grace(grace_s)
        _blocking(lambda _cancel: self._core.stop(limit))

    def info(self) -> BoxInfo:
        """What is known of it now."""
        return self._core.info()

    def console(self) -> str:
        """The last lines that its kernel wrote, once it has ended."""
        return self._core.native.console()

    def exec(self, command: str, args: Optional[Sequence[str]] = None, env: Optional[Environment] = None,
             tty: bool = False, user: Optional[str] = None, timeout_secs: Optional[float] = None,
             cwd: Optional[str] = None) -> SyncExecution:
        """Starts a command and returns when it runs."""
        return SyncExecution(self._core, self._begin(request(
            self._core.options, [command, *(args or ())], env, user, timeout_secs, cwd, stdin=True, tty=tty)))

    def run(self, command: str, *args: str, env: Optional[Environment] = None, user: Optional[str] = None,
            timeout: Optional[float] = None, cwd: Optional[str] = None,
            input: Union[bytes, str, None] = None) -> ExecResult:
        """Runs a command and returns its output when it has ended."""
        given = input.encode("utf-8") if isinstance(input, str) else input
        native = self._begin(request(self._core.options, [command, *args], env, user, timeout, cwd,
                                     stdin=given is not None))
        try:
            collected = Collected(native, given)
            bits = native.bits()
            while not collected.advance(bits):
                bits = _wait(native, collected.wanted())
            return result_of(outcome(native, bits), *collected.output())
        finally:
            self._core.forget(native)  # interrupted, it is ended

    def _begin(self, what: ExecRequest) -> NativeExec:
        self._usable()
        native = self._core.exec(what)
        try:
            bits = _wait(native, lib.IS_STARTED | lib.IS_ENDED)
            if not bits & lib.IS_STARTED:
                outcome(native, bits)
        except BaseException:
            self._core.forget(native)
            raise
        return native

    def _usable(self) -> None:
        self._core.launch_for_use()
        while not self._core.native.wait_ready(int(SLICE_S * 1000)):
            pass

    def copy_in(self, host_path: Path, box_path: Path, options: Optional[CopyOptions] = None) -> CopyReport:
        """Copies into the box."""
        o = options or CopyOptions()
        self._usable()
        return _blocking(lambda cancel: self._core.copy(True, host_path, box_path, o, cancel))

    def copy_out(self, box_path: Path, host_path: Path, options: Optional[CopyOptions] = None) -> CopyReport:
        """Copies out of the box."""
        o = options or CopyOptions()
        self._usable()
        return _blocking(lambda cancel: self._core.copy(False, box_path, host_path, o, cancel))


class SyncImageHandle:
    """The images of a runtime's home; see :class:`cubby.ImageHandle`."""

    def __init__(self, core: RuntimeCore) -> None:
        self._core = core

    def pull(self, reference: str, platform: Optional[str] = None, policy: str = "missing",
             progress: Optional[Callable[[PullProgress], object]] = None) -> ImageInfo:
        """Fetches an image; `progress` is called in another thread."""
        return _blocking(lambda cancel: self._core.pull(reference, platform, policy, progress, cancel))

    def list(self) -> List[ImageInfo]:
        """All that are there."""
        return self._core.list_images()

    def get(self, reference: str, platform: Optional[str] = None) -> ImageInfo:
        """One that is there."""
        return self._core.image(reference, platform)

    def remove(self, reference: str, platform: Optional[str] = None) -> None:
        """Forgets a reference."""
        self._core.remove_image(reference, platform)

    def load(self, path: Path, name: Optional[str] = None) -> List[ImageInfo]:
        """Takes images from an OCI layout, an archive of ``docker save``, or a root file system."""
        return _blocking(lambda cancel: self._core.load_images(path, name, cancel))


class SyncBoxlite:
    """A runtime; see :class:`cubby.Boxlite`, whose methods these are."""

    def __init__(self, options: Optional[Options] = None) -> None:
        self._core = RuntimeCore(options)

    @classmethod
    def default(cls) -> "SyncBoxlite":
        """That of this process, which is Boxlite's, too."""
        made = cls.__new__(cls)
        made._core = RuntimeCore.default()
        return made

    def __enter__(self) -> "SyncBoxlite":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.shutdown()

    @property
    def images(self) -> SyncImageHandle:
        """Its images."""
        return SyncImageHandle(self._core)

    def create(self, options: Optional[BoxOptions] = None, name: Optional[str] = None) -> SyncBox:
        """Makes a box."""
        o = options or BoxOptions()
        return SyncBox(_blocking(lambda cancel: self._core.create(o, name, cancel)))

    def get(self, id_or_name: str) -> Optional[SyncBox]:
        """A box by name, id or the beginning of an id; None when there is none."""
        core = self._core.find(id_or_name)
        return SyncBox(core) if core else None

    def get_or_create(self, options: Optional[BoxOptions] = None,
                      name: Optional[str] = None) -> Tuple[SyncBox, bool]:
        """(the box of this name, False), or (a new one, True)."""
        wanted = name if name is not None or options is None else options.name
        found = self._core.find(wanted) if wanted is not None else None
        return (SyncBox(found), False) if found else (self.create(options, name), True)

    def get_info(self, id_or_name: str) -> Optional[BoxInfo]:
        """What is known of a box; None when there is none."""
        core = self._core.find(id_or_name)
        return core.info() if core else None

    def list_info(self) -> List[BoxInfo]:
        """What is known of each box, oldest first."""
        return self._core.list()

    def remove(self, id_or_name: str, force: bool = False) -> None:
        """Removes a box; with ``force`` also one that runs."""
        self._core.remove(id_or_name, force)

    def shutdown(self, timeout: Optional[float] = None) -> None:
        """Stops and removes all its boxes; the runtime is of no more use."""
        limit = grace(timeout)
        _blocking(lambda _cancel: self._core.close(limit))

    def close(self) -> None:
        """The same as shutdown()."""
        self.shutdown()


class SyncSimpleBox(SimpleFacts[SyncBoxlite, SyncBox]):
    """One box for the length of a ``with``; see :class:`cubby.SimpleBox`."""

    _how = "'with SyncSimpleBox(…) as box', or box.start()"

    def __enter__(self) -> "SyncSimpleBox":
        return self.start()

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.stop()

    def start(self) -> "SyncSimpleBox":
        """Makes the box and returns when it is ready; again is fine."""
        if self._box is None:
            runtime = self._runtime or SyncBoxlite.default()
            if self._reuse:
                box, self._created = runtime.get_or_create(self._options)
            else:
                box, self._created = runtime.create(self._options), True
            try:
                box.start()
            except BaseException:
                if self._created:
                    box._core.remove()
                raise
            self._box = box
        return self

    def stop(self) -> None:
        """Stops the box, and removes it unless ``auto_remove=False``."""
        if self._box is not None:
            self._box.stop()

    def shutdown(self) -> None:
        """The same as stop()."""
        self.stop()

    def info(self) -> BoxInfo:
        """What is known of the box now."""
        return self.box.info()

    def exec(self, cmd: str, *args: str, env: Optional[Environment] = None, user: Optional[str] = None,
             timeout: Optional[float] = None, cwd: Optional[str] = None,
             input: Union[bytes, str, None] = None) -> ExecResult:
        """Runs a command and returns its result."""
        return self.box.run(cmd, *args, env=env, user=user, timeout=timeout, cwd=cwd, input=input)

    def copy_in(self, host_path: Path, container_dest: Path, *, overwrite: bool = True,
                follow_symlinks: bool = False, include_parent: bool = True) -> CopyReport:
        """Copies into the box."""
        return self.box.copy_in(host_path, container_dest, CopyOptions(
            overwrite=overwrite, follow_symlinks=follow_symlinks, include_parent=include_parent))

    def copy_out(self, container_src: Path, host_dest: Path, *, overwrite: bool = True,
                 follow_symlinks: bool = False, include_parent: bool = True) -> CopyReport:
        """Copies out of the box."""
        return self.box.copy_out(container_src, host_dest, CopyOptions(
            overwrite=overwrite, follow_symlinks=follow_symlinks, include_parent=include_parent))
