# SPDX-License-Identifier: Apache-2.0
"""What calls return: results of commands, what is known of boxes and images."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Optional

from . import _library as lib


@dataclass(frozen=True)
class ExecStatus:
    """How a command ended.

    ``exit_code``      0 to 255, or -N when signal N ended it (a shell in between makes 128+N of that); -1, with
                       ``error_message`` set and ``signal`` None, when its box ended before it.
    ``error_message``  why, when it ended otherwise than by itself or by a signal that was sent: the box was stopped or
                       lost, or its memory ran out. Else None.
    ``timed_out``      its ``timeout`` passed, and all its processes were ended for that.
    ``oom_killed``     the box's memory ran out: raise ``memory_mib``.
    ``leftover``       processes went on after it and held its output open; what they wrote later is not here.
    ``duration`` and the two processor times are seconds; 0 when it is not known.
    """

    exit_code: int
    error_message: Optional[str] = None
    timed_out: bool = False
    oom_killed: bool = False
    leftover: bool = False
    duration: float = 0.0
    user_time: float = 0.0
    system_time: float = 0.0
    max_rss_bytes: int = 0
    memory_peak_bytes: int = 0

    @property
    def signal(self) -> Optional[int]:
        """The number of the signal that ended it, or None."""
        lost = self.error_message is not None and not self.oom_killed
        return -self.exit_code if self.exit_code < 0 and not lost else None

    @property
    def ok(self) -> bool:
        """It ended by itself, with 0."""
        return self.exit_code == 0 and self.error_message is None and not self.timed_out


def status_of(result: lib.Result) -> ExecStatus:
    """What struct cubby_result says."""
    oom = result.how == lib.OOM_KILLED
    return ExecStatus(
        exit_code=result.exit_code,
        error_message="the command was killed because its memory ran out; raise memory_mib" if oom else None,
        timed_out=result.how == lib.TIMED_OUT, oom_killed=oom, leftover=bool(result.leftover),
        duration=result.wall_ns / 1e9, user_time=result.user_us / 1e6, system_time=result.system_us / 1e6,
        max_rss_bytes=result.max_rss_bytes, memory_peak_bytes=result.memory_peak_bytes)


@dataclass(frozen=True)
class ExecResult:
    """How a command ended, and what it wrote.

    ``stdout`` and ``stderr`` are decoded as UTF-8, what is none replaced by U+FFFD; ``stdout_bytes`` and ``stderr_bytes``
    are as written. The rest is explained at :class:`ExecStatus`, which ``status`` is.
    """

    exit_code: int
    stdout: str
    stderr: str
    error_message: Optional[str] = None
    stdout_bytes: bytes = b""
    stderr_bytes: bytes = b""
    status: ExecStatus = ExecStatus(0)

    @property
    def timed_out(self) -> bool:
        """Its timeout passed."""
        return self.status.timed_out

    @property
    def oom_killed(self) -> bool:
        """The box's memory ran out."""
        return self.status.oom_killed

    @property
    def signal(self) -> Optional[int]:
        """The number of the signal that ended it, or None."""
        return self.status.signal

    @property
    def duration(self) -> float:
        """Seconds from its start to its end."""
        return self.status.duration

    @property
    def ok(self) -> bool:
        """It ended by itself, with 0."""
        return self.status.ok


def result_of(status: ExecStatus, out: bytes, err: bytes) -> ExecResult:
    """A status with the output."""
    return ExecResult(status.exit_code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"),
                      status.error_message, out, err, status)


@dataclass(frozen=True)
class CopyReport:
    """What a copy did: how many files, folders and links were made, bytes of data, what was left out (sockets, devices…),
    extended attributes that the target cannot hold."""

    entries: int
    bytes: int
    skipped: int
    xattrs_lost: int


@dataclass(frozen=True)
class BoxStateInfo:
    """``status`` is "configured", "starting", "running", "stopping", "stopped" or "failed"; ``running`` says whether
    there is a VM, ``pid`` is that of its process while it runs, else None."""

    status: str
    running: bool
    pid: Optional[int]


@dataclass(frozen=True)
class BoxInfo:
    """What is known of a box. Times are RFC 3339 in UTC; ``reason`` says why a box is stopped or has failed."""

    id: str
    name: Optional[str]
    state: BoxStateInfo
    image: str
    cpus: int
    memory_mib: int
    created_at: str
    started_at: Optional[str] = None
    reason: Optional[str] = None

    @property
    def status(self) -> str:
        """The same as ``state.status``."""
        return self.state.status


STATUS = {lib.CONFIGURED: "configured", lib.STARTING: "starting", lib.RUNNING: "running", lib.STOPPING: "stopping",
          lib.STOPPED: "stopped", lib.FAILED: "failed"}


@dataclass(frozen=True)
class ImageInfo:
    """An image that is there. ``size`` is what is stored of it, ``root_size`` its merged root file system on disk (0: not
    made), both bytes; times are seconds since 1970. ``labels`` to ``layers`` are filled by pull() and get()."""

    name: str
    reference: str
    id: str
    platform: str
    size: int
    root_size: int
    stored_at: int
    used_at: int
    in_use: bool
    labels: Dict[str, str]
    env: List[str]
    layers: List[str]


def image_of(image: lib.Image) -> ImageInfo:
    """What struct cubby_image says, copied."""
    inspected = bool(image.inspected)
    labels = lib.texts(image.labels) if inspected else []
    return ImageInfo(
        name=lib.text(image.name), reference=lib.text(image.reference), id=lib.text(image.id),
        platform=lib.text(image.platform), size=image.stored_bytes, root_size=image.root_bytes,
        stored_at=image.stored_at, used_at=image.used_at, in_use=bool(image.in_use),
        labels=dict(label.partition("=")[::2] for label in labels),
        env=lib.texts(image.env) if inspected else [], layers=lib.texts(image.layers) if inspected else [])


@dataclass(frozen=True)
class PullProgress:
    """A step of a pull. ``phase`` is "resolving", "resolved", "exists", "waiting", "downloading", "retrying",
    "verifying", "downloaded", "merging", "merged" or "finishing"; ``layer`` counts from 0, -1 being the image itself."""

    phase: str
    layer: int
    layers: int
    digest: str
    have: int
    total: int
    delay: float
    reason: str


def progress_of(event: lib.PullEvent) -> PullProgress:
    """What struct cubby_pull_event says, copied."""
    known = 0 <= event.phase < len(lib.PULL_PHASES)
    return PullProgress(lib.PULL_PHASES[event.phase] if known else "", event.layer, event.layers, lib.text(event.digest),
                        event.have, event.total, event.delay_ms / 1000, lib.text(event.reason))
