# SPDX-License-Identifier: Apache-2.0
"""libcubby.so.1 by ctypes: the structures and calls of cubby.h that this package uses, as they are there.

The library is looked for when it is first needed: the file that ``CUBBY_LIBRARY`` names; the one that the wheel
brought, beside this module; what the dynamic linker finds. ctypes lets other Python threads run during a call.
"""
from __future__ import annotations

import ctypes as c
import os
import threading
from typing import Any, Dict, List, Optional, Tuple

from .errors import LibraryError, from_code

FOREVER = -1
STRINGS = c.POINTER(c.c_char_p)

# enum cubby_state
CONFIGURED, STARTING, RUNNING, STOPPING, STOPPED, FAILED = range(6)
# enum cubby_stream
STDOUT, STDERR = 1, 2
# enum cubby_how
EXITED, SIGNALED, TIMED_OUT, OOM_KILLED = 1, 2, 3, 4
# the bits of cubby_exec_poll()
CAN_READ_STDOUT, CAN_READ_STDERR, CAN_WRITE, IS_STARTED, IS_ENDED = 1, 2, 4, 8, 16
# flags of executions, boxes and copies
EXEC_STDIN, EXEC_TTY = 0x1, 0x8
BOX_LOG = 0x2
COPY_NO_REPLACE, COPY_FOLLOW = 0x2, 0x4
PULL_POLICIES = {"missing": 0, "always": 1, "never": 2}
PULL_PHASES = ("resolving", "resolved", "exists", "waiting", "downloading", "retrying", "verifying", "downloaded",
               "merging", "merged", "finishing")


class Error(c.Structure):
    """struct cubby_error"""
    _fields_ = [("code", c.c_int), ("message", c.c_char * 512)]


class DoctorOptions(c.Structure):
    """struct cubby_doctor_options"""
    _fields_ = [("size", c.c_size_t), ("assets", c.c_char_p)]


class Check(c.Structure):
    """struct cubby_check"""
    _fields_ = [("name", c.c_char_p), ("ok", c.c_int), ("required", c.c_int), ("detail", c.c_char_p),
                ("remedy", c.c_char_p)]


class ImagesOptions(c.Structure):
    """struct cubby_images_options"""
    _fields_ = [("size", c.c_size_t), ("home", c.c_char_p), ("config", c.c_char_p), ("insecure_registries", STRINGS)]


class Image(c.Structure):
    """struct cubby_image"""
    _fields_ = [("name", c.c_char_p), ("reference", c.c_char_p), ("id", c.c_char_p), ("platform", c.c_char_p),
                ("stored_bytes", c.c_uint64), ("root_bytes", c.c_uint64), ("stored_at", c.c_int64),
                ("used_at", c.c_int64), ("in_use", c.c_int), ("inspected", c.c_int), ("created", c.c_char_p),
                ("author", c.c_char_p), ("user", c.c_char_p), ("workdir", c.c_char_p), ("stop_signal", c.c_char_p),
                ("env", STRINGS), ("entrypoint", STRINGS), ("cmd", STRINGS), ("volumes", STRINGS), ("ports", STRINGS),
                ("labels", STRINGS), ("layers", STRINGS), ("diff_ids", STRINGS)]


class PullEvent(c.Structure):
    """struct cubby_pull_event"""
    _fields_ = [("phase", c.c_int), ("layer", c.c_int), ("layers", c.c_int), ("digest", c.c_char_p),
                ("have", c.c_uint64), ("total", c.c_uint64), ("delay_ms", c.c_uint64), ("reason", c.c_char_p)]


PullProgress = c.CFUNCTYPE(None, c.c_void_p, c.POINTER(PullEvent))


class PullOptions(c.Structure):
    """struct cubby_pull_options"""
    _fields_ = [("size", c.c_size_t), ("platform", c.c_char_p), ("progress", PullProgress), ("context", c.c_void_p),
                ("policy", c.c_uint), ("cancel_fd", c.c_int)]


ImageLoaded = c.CFUNCTYPE(None, c.c_void_p, c.POINTER(Image))


class LoadOptions(c.Structure):
    """struct cubby_load_options"""
    _fields_ = [("size", c.c_size_t), ("name", c.c_char_p), ("select", c.c_char_p), ("platform", c.c_char_p),
                ("loaded", ImageLoaded), ("context", c.c_void_p), ("kind", c.c_uint), ("cancel_fd", c.c_int)]


class BoxOptions(c.Structure):
    """struct cubby_box_options"""
    _fields_ = [("size", c.c_size_t), ("assets", c.c_char_p), ("kernel", c.c_char_p), ("rootfs", c.c_char_p),
                ("cpus", c.c_uint), ("memory_mib", c.c_uint), ("boot_timeout_ms", c.c_uint), ("flags", c.c_uint),
                ("cancel_fd", c.c_int), ("disk_mib", c.c_uint), ("image", c.c_char_p), ("images", c.c_void_p),
                ("pull", c.POINTER(PullOptions)), ("env", STRINGS)]


class ExecOptions(c.Structure):
    """struct cubby_exec_options"""
    _fields_ = [("size", c.c_size_t), ("argv", STRINGS), ("env", STRINGS), ("workdir", c.c_char_p),
                ("user", c.c_char_p), ("timeout_ms", c.c_uint64), ("grace_ms", c.c_uint), ("flags", c.c_uint),
                ("rows", c.c_uint), ("cols", c.c_uint), ("buffer", c.c_uint), ("backlog", c.c_uint),
                ("entrypoint", STRINGS), ("memory_limit_mib", c.c_uint), ("pids_limit", c.c_uint),
                ("cpu_limit_milli", c.c_uint), ("rlimit_count", c.c_uint), ("rlimits", c.c_void_p)]


class Result(c.Structure):
    """struct cubby_result"""
    _fields_ = [("size", c.c_size_t), ("how", c.c_int), ("exit_code", c.c_int), ("leftover", c.c_int),
                ("flags", c.c_uint), ("wall_ns", c.c_uint64), ("user_us", c.c_uint64), ("system_us", c.c_uint64),
                ("max_rss_bytes", c.c_uint64), ("memory_peak_bytes", c.c_uint64)]


class CopyResult(c.Structure):
    """struct cubby_copy_result"""
    _fields_ = [("size", c.c_size_t), ("entries", c.c_uint64), ("bytes", c.c_uint64), ("skipped", c.c_uint64),
                ("xattrs_lost", c.c_uint64)]


class CopyOptions(c.Structure):
    """struct cubby_copy_options"""
    _fields_ = [("size", c.c_size_t), ("flags", c.c_uint), ("stall_ms", c.c_uint), ("owner", c.c_char_p),
                ("cancel_fd", c.c_int), ("reserved", c.c_int), ("progress", c.c_void_p), ("context", c.c_void_p)]


#: The C names, for the test that compares each layout with what the compiler makes of cubby.h.
STRUCTS: Dict[str, Any] = {
    "cubby_error": Error, "cubby_doctor_options": DoctorOptions, "cubby_check": Check,
    "cubby_images_options": ImagesOptions, "cubby_image": Image, "cubby_pull_event": PullEvent,
    "cubby_pull_options": PullOptions, "cubby_load_options": LoadOptions, "cubby_box_options": BoxOptions,
    "cubby_exec_options": ExecOptions, "cubby_result": Result, "cubby_copy_result": CopyResult,
    "cubby_copy_options": CopyOptions,
}

_OUT = c.POINTER(c.c_void_p)
_ERR = c.POINTER(Error)
_SIGNATURES: Dict[str, Tuple[Any, List[Any]]] = {
    "cubby_version": (c.c_char_p, []),
    "cubby_code_name": (c.c_char_p, [c.c_int]),
    "cubby_doctor": (c.c_int, [_OUT, c.POINTER(DoctorOptions), _ERR]),
    "cubby_report_usable": (c.c_int, [c.c_void_p]),
    "cubby_report_count": (c.c_size_t, [c.c_void_p]),
    "cubby_report_check": (c.c_int, [c.c_void_p, c.c_size_t, c.POINTER(Check)]),
    "cubby_report_free": (None, [c.c_void_p]),
    "cubby_images_open": (c.c_int, [_OUT, c.POINTER(ImagesOptions), _ERR]),
    "cubby_images_close": (None, [c.c_void_p]),
    "cubby_images_pull": (c.c_int, [c.c_void_p, c.c_char_p, c.POINTER(PullOptions), c.POINTER(c.POINTER(Image)),
                                    c.c_void_p, _ERR]),
    "cubby_images_inspect": (c.c_int, [c.c_void_p, c.c_char_p, c.c_char_p, c.POINTER(c.POINTER(Image)), _ERR]),
    "cubby_images_list": (c.c_int, [c.c_void_p, c.POINTER(c.POINTER(c.POINTER(Image))), _ERR]),
    "cubby_images_list_free": (None, [c.POINTER(c.POINTER(Image))]),
    "cubby_images_remove": (c.c_int, [c.c_void_p, c.c_char_p, c.c_char_p, _ERR]),
    "cubby_images_load": (c.c_int, [c.c_void_p, c.c_char_p, c.POINTER(LoadOptions), _ERR]),
    "cubby_image_free": (None, [c.POINTER(Image)]),
    "cubby_box_create": (c.c_int, [_OUT, c.POINTER(BoxOptions), _ERR]),
    "cubby_box_start": (c.c_int, [c.c_void_p, _ERR]),
    "cubby_box_wait_ready": (c.c_int, [c.c_void_p, c.c_int, _ERR]),
    "cubby_box_fd": (c.c_int, [c.c_void_p]),
    "cubby_box_state": (c.c_int, [c.c_void_p]),
    "cubby_box_failure": (c.c_int, [c.c_void_p, _ERR]),
    "cubby_box_stop": (c.c_int, [c.c_void_p, c.c_int, _ERR]),
    "cubby_box_destroy": (None, [c.c_void_p]),
    "cubby_box_id": (c.c_char_p, [c.c_void_p]),
    "cubby_box_pid": (c.c_int, [c.c_void_p]),
    "cubby_box_console": (c.c_size_t, [c.c_void_p, c.c_char_p, c.c_size_t]),
    "cubby_exec_start": (c.c_int, [_OUT, c.c_void_p, c.POINTER(ExecOptions), _ERR]),
    "cubby_exec_fd": (c.c_int, [c.c_void_p]),
    "cubby_exec_poll": (c.c_int, [c.c_void_p, c.c_int, c.c_int]),
    "cubby_exec_read": (c.c_ssize_t, [c.c_void_p, c.c_int, c.c_void_p, c.c_size_t]),
    "cubby_exec_write": (c.c_ssize_t, [c.c_void_p, c.c_void_p, c.c_size_t]),
    "cubby_exec_close_stdin": (c.c_int, [c.c_void_p]),
    "cubby_exec_signal": (c.c_int, [c.c_void_p, c.c_int, c.c_int]),
    "cubby_exec_resize": (c.c_int, [c.c_void_p, c.c_uint, c.c_uint]),
    "cubby_exec_kill": (c.c_int, [c.c_void_p]),
    "cubby_exec_wait": (c.c_int, [c.c_void_p, c.c_int, c.POINTER(Result), _ERR]),
    "cubby_exec_id": (c.c_uint64, [c.c_void_p]),
    "cubby_exec_free": (None, [c.c_void_p]),
    "cubby_copy_in": (c.c_int, [c.c_void_p, c.c_char_p, c.c_char_p, c.POINTER(CopyOptions), c.POINTER(CopyResult),
                                _ERR]),
    "cubby_copy_out": (c.c_int, [c.c_void_p, c.c_char_p, c.c_char_p, c.POINTER(CopyOptions), c.POINTER(CopyResult),
                                 _ERR]),
}

SONAME = "libcubby.so.1"
BUNDLED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_native", SONAME)
_lock = threading.Lock()
_loaded: Optional[Any] = None


def _open() -> Any:
    named = os.environ.get("CUBBY_LIBRARY")
    path = named or (BUNDLED if os.path.exists(BUNDLED) else SONAME)
    try:
        return c.CDLL(path)
    except OSError as e:
        hint = ("see CUBBY_LIBRARY" if named else
                "install cubby, use its wheel, or set CUBBY_LIBRARY to the file of that name")
        raise LibraryError(f"cannot load {path}: {e}; {hint}") from e


def library() -> Any:
    """The library, loaded once. Raises LibraryError. Any thread."""
    global _loaded
    with _lock:
        if _loaded is None:
            lib = _open()
            for name, (result, arguments) in _SIGNATURES.items():
                try:
                    function = getattr(lib, name)
                except AttributeError:
                    raise LibraryError(f"{lib._name} has no {name}(): it is older than this package") from None
                function.restype, function.argtypes = result, arguments
            _loaded = lib
        return _loaded


def path_of_library() -> str:
    """What was, or is to be, loaded."""
    return str(library()._name)


def code_name(code: int) -> str:
    """"image-not-found" of -3."""
    return text(library().cubby_code_name(code))


def check(code: int, error: Optional[Error] = None, what: str = "") -> int:
    """The code of a call that succeeded; raises the exception of one that failed."""
    if code >= 0:
        return code
    message = text(error.message) if error is not None else what
    raise from_code(code, message, code_name(code))


def text(value: Optional[bytes]) -> str:
    """A C string, as os.fsdecode() has it; "" of NULL."""
    return "" if value is None else value.decode("utf-8", "surrogateescape")


def texts(values: Any) -> List[str]:
    """A list of C strings that ends with NULL."""
    found: List[str] = []
    while values and values[len(found)] is not None:
        found.append(text(values[len(found)]))
    return found
