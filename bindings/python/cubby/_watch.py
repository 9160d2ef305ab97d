# SPDX-License-Identifier: Apache-2.0
"""Waiting in event loops.

Theory of operation. Each handle of libcubby has a descriptor that becomes readable when something may have happened;
then the handle is asked, which takes note of it, and the descriptor is quiet again. So whoever asks, for whatever
reason, may consume what another one is waiting for: each asks through the handle's one Watch, which looks at all who
wait, in all loops, and wakes those who have what they want. The descriptor is in a loop only while somebody waits in
that loop: there is no thread, and nothing to close when a loop ends.

What blocks in C (making a box, pulling an image, copying, stopping) runs in a thread of its own by in_thread().
"""
from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import weakref
from typing import Callable, List, Optional, TypeVar

T = TypeVar("T")


class _Waiter:
    """Somebody who waits in a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wanted: int) -> None:
        self.loop = loop
        self.wanted = wanted
        self.future: "asyncio.Future[None]" = loop.create_future()

    def _set(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    def wake(self) -> None:
        """From any thread. A loop that was closed has nobody to wake."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._set)


class Watch:
    """Of one handle. Any thread; wait() in any running loop."""

    def __init__(self, fd: int, ask: Callable[[], int]) -> None:
        """`ask` is a method of the handle's object, which has this Watch and so is not to be kept alive by it."""
        self.fd = fd
        self._ask = weakref.WeakMethod(ask)
        self._lock = threading.Lock()
        self._waiters: List[_Waiter] = []

    def look(self) -> int:
        """Asks the handle and wakes whom it concerns; returns the bits that hold. After each call on the handle that
        may have taken note of something."""
        ask = self._ask()
        bits = ask() if ask else 0
        with self._lock:
            concerned = [w for w in self._waiters if w.wanted & bits]
        for waiter in concerned:
            waiter.wake()
        return bits

    async def wait(self, wanted: int, timeout: Optional[float] = None) -> int:
        """Returns the bits that hold as soon as one of `wanted` does, or after `timeout` seconds. Cancelling it changes
        nothing."""
        bits = self.look()
        if bits & wanted:
            return bits
        waiter = _Waiter(asyncio.get_running_loop(), wanted)
        timer = waiter.loop.call_later(timeout, waiter.wake) if timeout is not None else None
        self._enter(waiter)
        try:
            # Another thread may have taken note after our look and before we were entered.
            if not self.look() & wanted:
                await waiter.future
        finally:
            self._leave(waiter)
            if timer:
                timer.cancel()
        return self.look()

    def _of_loop(self, loop: asyncio.AbstractEventLoop) -> bool:
        return any(w.loop is loop for w in self._waiters)

    def _enter(self, waiter: _Waiter) -> None:
        with self._lock:
            first = not self._of_loop(waiter.loop)
            self._waiters.append(waiter)
        if first:
            waiter.loop.add_reader(self.fd, self.look)

    def _leave(self, waiter: _Waiter) -> None:
        with self._lock:
            self._waiters.remove(waiter)
            last = not self._of_loop(waiter.loop)
        if last:
            waiter.loop.remove_reader(self.fd)


async def in_thread(call: Callable[[int], T], undo: Optional[Callable[[T], object]] = None) -> T:
    """Runs call(cancel_fd) in a thread of its own and returns what it returns.

    Cancelled, it makes `cancel_fd` readable, which a call that can be given up watches, and waits for its end; when the
    call was done all the same, undo(result) runs. A call that cannot be given up runs to its end.
    """
    loop = asyncio.get_running_loop()
    done: "asyncio.Future[T]" = loop.create_future()
    reader, writer = os.pipe()

    def settle(result: Optional[T], error: Optional[BaseException]) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result: Optional[T] = None
        error: Optional[BaseException] = None
        try:
            result = call(reader)
        except BaseException as e:
            error = e
        finally:
            os.close(reader)
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    try:
        threading.Thread(target=work, name="cubby").start()
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            with contextlib.suppress(BrokenPipeError):  # it has just ended
                os.write(writer, b"x")
            await _given_up(done, undo)
            raise
    finally:
        os.close(writer)


async def _given_up(done: "asyncio.Future[T]", undo: Optional[Callable[[T], object]]) -> None:
    """Waits for the end of a call that was told to give up, however often we are cancelled meanwhile."""
    while not done.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([done])
    if done.exception() is None and undo:
        undo(done.result())
