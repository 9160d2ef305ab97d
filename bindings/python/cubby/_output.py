# SPDX-License-Identifier: Apache-2.0
"""A command's output and its outcome: what the asyncio classes and their synchronous twins share."""
from __future__ import annotations

import codecs
from typing import List, Optional

from . import _library as lib
from ._native import CHUNK, NativeExec
from .errors import EGUEST_LOST, EPROTOCOL, ESTOPPED, BoxliteError, StateError
from .results import ExecStatus, status_of

#: How long the beginning of a line waits for its end, seconds: a program may write both apart.
LINE_HOLD_S = 0.05
LINE_MAX = 64 * 1024
HELD_MAX = 64 * 1024 * 1024

NAMES = {lib.STDOUT: "stdout", lib.STDERR: "stderr"}
BITS = {lib.STDOUT: lib.CAN_READ_STDOUT, lib.STDERR: lib.CAN_READ_STDERR}


class Held:
    """One stream: who has it, and what was read of it before."""

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.bit = BITS[stream]
        self._pieces: List[bytes] = []
        self._size = 0
        self._ended = False
        self._taken = False

    def take(self) -> None:
        """Once. Raises StateError."""
        if self._taken:
            raise StateError(f"{NAMES[self.stream]} stream not available: it was taken before")
        self._taken = True

    def read(self, native: NativeExec) -> Optional[bytes]:
        """The next piece; b"" at the end, again and again; None when there is none yet."""
        if self._pieces:
            return self._pieces.pop(0)
        if self._ended:
            return b""
        piece = native.read(self.stream)
        self._ended = piece == b""
        return piece

    def wanted(self) -> int:
        """The bit of the stream while it is to be kept: nobody has it, and there is room."""
        return 0 if self._taken or self._ended or self._size >= HELD_MAX else self.bit

    def keep(self, native: NativeExec) -> None:
        """Takes what there is into memory, for whoever may want it later."""
        while self.wanted():
            piece = native.read(self.stream)
            if piece is None:
                return
            self._ended = piece == b""
            if piece:
                self._pieces.append(piece)
                self._size += len(piece)


class Lines:
    """Makes lines of pieces of bytes."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._lines: List[str] = []
        self._at = 0
        self._rest = ""
        self.ended = False

    @property
    def started(self) -> bool:
        """There is the beginning of a line."""
        return bool(self._rest)

    def feed(self, piece: bytes) -> None:
        """b"" is the end of all."""
        text = self._rest + self._decoder.decode(piece, final=not piece)
        if piece:
            *whole, self._rest = text.split("\n")
            self._lines, self._at = [line + "\n" for line in whole], 0
        else:
            self._lines, self._at, self._rest, self.ended = [text] if text else [], 0, "", True
        if len(self._rest) >= LINE_MAX:
            self._lines.append(self.flush())

    def next(self) -> str:
        """The next line, "" when there is none."""
        if self._at == len(self._lines):
            return ""
        self._at += 1
        return self._lines[self._at - 1]

    def flush(self) -> str:
        """The beginning of a line, as it is."""
        rest, self._rest = self._rest, ""
        return rest


def outcome(native: NativeExec, bits: int) -> ExecStatus:
    """Of a command that has ended: a box that ended under it is a result. Raises BoxliteError for one that never
    started."""
    try:
        return status_of(native.result())
    except BoxliteError as e:
        if bits & lib.IS_STARTED and e.code in (ESTOPPED, EGUEST_LOST, EPROTOCOL):
            return ExecStatus(-1, error_message=str(e))
        raise


class Collected:
    """All that a command reads and writes, by one who does nothing else."""

    def __init__(self, native: NativeExec, given: Optional[bytes]) -> None:
        self._native = native
        self._given = memoryview(given) if given else None
        self._out = {lib.STDOUT: bytearray(), lib.STDERR: bytearray()}
        self._open = [lib.STDOUT, lib.STDERR]
        if given is not None and not given:
            native.close_stdin()

    def wanted(self) -> int:
        """What to wait for."""
        bits = lib.IS_ENDED
        for stream in self._open:
            bits |= BITS[stream]
        return bits | (lib.CAN_WRITE if self._given else 0)

    def advance(self, bits: int) -> bool:
        """Acts on what is possible. True when the command has ended and all is here."""
        for stream in list(self._open):
            piece = self._native.read(stream, CHUNK) if bits & (BITS[stream] | lib.IS_ENDED) else None
            while piece:
                self._out[stream] += piece
                piece = self._native.read(stream, CHUNK)
            if piece == b"":
                self._open.remove(stream)
        if self._given and not bits & lib.IS_ENDED:
            self._feed()
        return bool(bits & lib.IS_ENDED and not self._open)

    def _feed(self) -> None:
        try:
            taken = self._native.write(self._given) if self._given else 0
        except StateError:  # the command does not read all of it, as it may
            self._given = None
            return
        if self._given is not None:
            self._given = self._given[taken:]
            if not self._given:
                self._native.close_stdin()
                self._given = None

    def output(self) -> "tuple[bytes, bytes]":
        """(stdout, stderr) so far."""
        return bytes(self._out[lib.STDOUT]), bytes(self._out[lib.STDERR])
