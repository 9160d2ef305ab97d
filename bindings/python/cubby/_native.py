# SPDX-License-Identifier: Apache-2.0
"""libcubby's handles as objects: no event loop, no thread. Both the asyncio classes and their synchronous twins are
made of these.

Theory of operation. A handle may be used by many threads at once, but for the call that frees it. An execution is freed
when nobody refers to its object any more, so no call can be under way; in a cycle of garbage, finalizers run in any order,
and what is freed already counts as ended. A box is also destroyed on purpose: each call
holds it by use(), and destroy() leaves the last step to the last user. A child of fork(2) frees nothing: the boxes are
its parent's. At exit each box that is left is destroyed, so that nothing of it stays on this host.
"""
from __future__ import annotations

import atexit
import contextlib
import ctypes as c
import os
import threading
import weakref
from typing import Any, Callable, Iterator, List, Optional, Sequence

from . import _library as lib
from ._watch import Watch
from .errors import EAGAIN, ECLOSED, ETIMEOUT, StateError, from_code
from .options import BoxOptions, CopyOptions, ExecRequest, c_text, milliseconds, optional_text, variables

CHUNK = 256 * 1024
SETTLED = ~(1 << lib.STARTING)  # bits of a box: all states but this
TTY_ROWS, TTY_COLS = 24, 80


def strings(values: Sequence[bytes]) -> Any:
    """A NULL-terminated list for C; it must live as long as the call."""
    return (c.c_char_p * (len(values) + 1))(*values, None)


def _terminal_size() -> "tuple[int, int]":
    """(rows, columns) of the terminal that this process has on one of its three streams, else 24 and 80."""
    for fd in (1, 0, 2):
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(fd)
            if size.lines and size.columns:
                return size.lines, size.columns
    return TTY_ROWS, TTY_COLS


class NativeExec:
    """struct cubby_exec. Freed with the object, which ends a command that still runs."""

    _x: Optional[int] = None

    def __init__(self, box: int, what: ExecRequest) -> None:
        """Starts it in a box that the caller holds. Raises BoxliteError."""
        self._lib = lib.library()
        self._pid = os.getpid()
        rows, cols = _terminal_size() if what.tty else (0, 0)
        options = lib.ExecOptions(
            size=c.sizeof(lib.ExecOptions), argv=strings(what.argv), env=strings(what.env) if what.env else None,
            workdir=what.workdir, user=what.user, timeout_ms=what.timeout_ms, rows=rows, cols=cols,
            flags=(lib.EXEC_STDIN if what.stdin else 0) | (lib.EXEC_TTY if what.tty else 0))
        handle, error = c.c_void_p(), lib.Error()
        lib.check(self._lib.cubby_exec_start(c.byref(handle), box, c.byref(options), c.byref(error)), error)
        self._x = handle.value
        #: For waiting in event loops.
        self.watch = Watch(self._lib.cubby_exec_fd(handle), self.bits)

    def __del__(self, getpid: Callable[[], int] = os.getpid) -> None:
        x, self._x = self._x, None
        if x and self._pid == getpid():
            self._lib.cubby_exec_free(x)

    def inherited(self) -> bool:
        """This process is a child of the one that started it, and leaves it alone."""
        return self._pid != os.getpid()

    def bits(self) -> int:
        """Takes note of what happened: which of CAN_…, IS_… hold now."""
        return int(self._lib.cubby_exec_poll(self._x, 0, 0)) if self._x else lib.IS_ENDED

    def wait(self, wanted: int, timeout_ms: int) -> int:
        """bits(), when one of `wanted` holds or time is up. Blocks this thread, which Python cannot interrupt."""
        return int(self._lib.cubby_exec_poll(self._x, wanted, timeout_ms))

    def read(self, stream: int, size: int = CHUNK) -> Optional[bytes]:
        """What there is of STDOUT or STDERR: None when there is nothing yet, b"" at its end."""
        buffer = c.create_string_buffer(size)
        n = self._lib.cubby_exec_read(self._x, stream, buffer, size)
        if n == EAGAIN:
            return None
        return buffer.raw[:lib.check(n, what="cannot read the stream")]

    def write(self, data: memoryview) -> int:
        """How many bytes of `data` stdin has taken; 0 when it takes none right now. Raises StateError once nobody
        reads them."""
        piece = bytes(data[:CHUNK])
        n = self._lib.cubby_exec_write(self._x, piece, len(piece))
        if n == EAGAIN:
            return 0
        if n == ECLOSED:
            raise StateError("nobody reads the command's stdin: it was closed, or the command has ended", n, "closed")
        return lib.check(n, what="the command has no stdin")

    def close_stdin(self) -> None:
        """End of file for the command; closed twice is fine."""
        lib.check(self._lib.cubby_exec_close_stdin(self._x), what="cannot close stdin")

    def signal(self, number: int, tree: bool) -> None:
        """Sends a signal, 1 to 64, to the first process or to all."""
        lib.check(self._lib.cubby_exec_signal(self._x, number, tree), what=f"cannot send signal {number}")

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        lib.check(self._lib.cubby_exec_kill(self._x), what="cannot kill the command")

    def resize(self, rows: int, cols: int) -> None:
        """The terminal's new size."""
        lib.check(self._lib.cubby_exec_resize(self._x, rows, cols),
                  what=f"cannot resize to {rows} rows and {cols} columns: it has no terminal, or 1 to 65535 are allowed")

    def result(self) -> lib.Result:
        """Of a command that has ended. Raises why it did not run to its end."""
        result, error = lib.Result(size=c.sizeof(lib.Result)), lib.Error()
        lib.check(self._lib.cubby_exec_wait(self._x, 0, c.byref(result), c.byref(error)), error)
        return result

    def id(self) -> int:
        """Unique in the box; 0 before it has started."""
        return int(self._lib.cubby_exec_id(self._x))


_boxes: "weakref.WeakSet[NativeBox]" = weakref.WeakSet()


@atexit.register
def _destroy_boxes() -> None:
    for box in list(_boxes):
        box.destroy()


def _log_wanted() -> bool:
    return bool(os.environ.get("CUBBY_LOG") or os.environ.get("RUST_LOG"))


class NativeBox:
    """struct cubby_box. destroy() ends it; the end of the object does, too."""

    def __init__(self, options: BoxOptions, images: Optional[int], cancel_fd: int) -> None:
        """Creates it; blocks while its image is pulled or made, until `cancel_fd` is readable (StoppedError then)."""
        self._lib = lib.library()
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._uses = 0
        self._box: Optional[int] = None
        options.check()
        env = variables(options.env)
        o = lib.BoxOptions(
            size=c.sizeof(lib.BoxOptions), image=optional_text(options.image, "image"),
            rootfs=optional_text(options.rootfs_path, "rootfs_path"), cpus=options.cpus or 0,
            memory_mib=options.memory_mib or 0, disk_mib=(options.disk_size_gb or 0) * 1024, images=images,
            boot_timeout_ms=milliseconds(options.boot_timeout, "boot_timeout"), cancel_fd=cancel_fd,
            flags=lib.BOX_LOG if _log_wanted() else 0, env=strings(env) if env else None)
        handle, error = c.c_void_p(), lib.Error()
        lib.check(self._lib.cubby_box_create(c.byref(handle), c.byref(o), c.byref(error)), error)
        self._box = handle.value
        self.id = lib.text(self._lib.cubby_box_id(handle))
        #: For waiting in event loops; its bits are 1 << state.
        self.watch = Watch(self._lib.cubby_box_fd(handle), self._state_bit)
        _boxes.add(self)

    def __del__(self) -> None:
        if getattr(self, "_box", None):
            self.destroy()

    @contextlib.contextmanager
    def use(self) -> Iterator[int]:
        """The handle, for the time of a call. Raises StateError once it is destroyed."""
        with self._lock:
            box = self._box
            if not box:
                raise StateError("the box was removed", -18, "wrong-state")
            self._uses += 1
        try:
            yield box
        finally:
            with self._lock:
                self._uses -= 1
                last = self._uses == 0 and not self._box
            if last:
                self._free(box)

    def destroy(self) -> None:
        """Kills the VM and removes all that is left of the box. Executions in it report that."""
        with self._lock:
            box, self._box = self._box, None
            idle = self._uses == 0
        if box and idle:
            self._free(box)
        elif box:
            self.watch.look()  # whoever waits for it sees that it has stopped, and lets it go

    async def settled(self, timeout: Optional[float] = None) -> bool:
        """True when it is not, or no more, starting; False after `timeout` seconds. Its descriptor lives that long."""
        try:
            with self.use():
                return bool(await self.watch.wait(SETTLED, timeout) & SETTLED)
        except StateError:
            return True

    def _free(self, box: int) -> None:
        if self._pid == os.getpid():
            self._lib.cubby_box_destroy(box)

    def _state_bit(self) -> int:
        try:
            with self.use() as box:
                return 1 << int(self._lib.cubby_box_state(box))
        except StateError:
            return 1 << lib.STOPPED

    def state(self) -> int:
        """CONFIGURED to FAILED; STOPPED once it is destroyed."""
        return self.watch.look().bit_length() - 1

    def start(self) -> None:
        """Starts the VM, without waiting for it. Raises BoxliteError."""
        error = lib.Error()
        with self.use() as box:
            lib.check(self._lib.cubby_box_start(box, c.byref(error)), error)

    def wait_ready(self, timeout_ms: int) -> bool:
        """True when it has left its starting state, False after `timeout_ms`. Blocks this thread."""
        with self.use() as box:
            left = int(self._lib.cubby_box_wait_ready(box, timeout_ms, None)) != ETIMEOUT
        self.watch.look()
        return left

    def failure(self) -> Optional[Exception]:
        """Why it is stopped or has failed; None while it is neither."""
        error = lib.Error()
        with self.use() as box:
            code = self._lib.cubby_box_failure(box, c.byref(error))
        self.watch.look()
        return from_code(code, lib.text(error.message), lib.code_name(code)) if code < 0 else None

    def stop(self, grace_ms: int) -> None:
        """Returns when the VM is gone: after `grace_ms` and a second at the latest."""
        error = lib.Error()
        with self.use() as box:
            lib.check(self._lib.cubby_box_stop(box, grace_ms, c.byref(error)), error)
        self.watch.look()

    def pid(self) -> int:
        """Of the VMM, 0 when there is none."""
        with self.use() as box:
            pid = int(self._lib.cubby_box_pid(box))
        self.watch.look()
        return pid

    def console(self) -> str:
        """The last lines that the guest wrote to its console, once the VM has ended."""
        buffer = c.create_string_buffer(64 * 1024)
        with self.use() as box:
            self._lib.cubby_box_console(box, buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace")

    def exec(self, what: ExecRequest) -> NativeExec:
        """Starts a command; returns at once. Raises BoxliteError."""
        with self.use() as box:
            return NativeExec(box, what)

    def copy(self, into: bool, source: Any, target: Any, options: CopyOptions, cancel_fd: int) -> lib.CopyResult:
        """Blocks until the copy is done, or `cancel_fd` is readable (StoppedError then)."""
        o = lib.CopyOptions(
            size=c.sizeof(lib.CopyOptions), cancel_fd=cancel_fd,
            flags=(0 if options.overwrite else lib.COPY_NO_REPLACE)
            | (lib.COPY_FOLLOW if options.follow_symlinks else 0))
        result, error = lib.CopyResult(size=c.sizeof(lib.CopyResult)), lib.Error()
        call = self._lib.cubby_copy_in if into else self._lib.cubby_copy_out
        with self.use() as box:
            lib.check(call(box, c_text(source, "the source"), c_text(target, "the target"), c.byref(o), c.byref(result),
                           c.byref(error)), error)
        return result


def doctor() -> "tuple[bool, List[Any]]":
    """(can boxes run here, findings as (name, ok, required, detail, remedy)). Blocks for a second or more."""
    library = lib.library()
    report, error = c.c_void_p(), lib.Error()
    lib.check(library.cubby_doctor(c.byref(report), None, c.byref(error)), error)
    try:
        findings = []
        for i in range(library.cubby_report_count(report)):
            check = lib.Check()
            lib.check(library.cubby_report_check(report, i, c.byref(check)))
            findings.append((lib.text(check.name), bool(check.ok), bool(check.required), lib.text(check.detail),
                             lib.text(check.remedy)))
        return bool(library.cubby_report_usable(report)), findings
    finally:
        library.cubby_report_free(report)
