# SPDX-License-Identifier: Apache-2.0
"""What goes wrong, as exceptions.

A command's own failure is a result, never an exception: see :class:`cubby.ExecResult`. What is raised says that
something around the command failed, and every such exception is a :class:`BoxliteError` (:data:`CubbyError` is the same
class under our own name) with

``code``       the number of libcubby's error, negative, or 0 when Python itself found the mistake;
``code_name``  its stable short name for programs and logs, such as ``"image-not-found"``.
"""
from __future__ import annotations

from typing import Dict, Type

__all__ = [
    "ArgumentError", "BootError", "BoxliteError", "CommandNotFoundError", "ConfigError", "CubbyError", "ExecError",
    "ExistsError", "FileError", "GuestLostError", "GuestStorageError", "ImageError", "ImageNotFoundError",
    "InternalError", "KvmError", "LibraryError", "NotExecutableError", "NotFoundError", "ParseError",
    "ProtocolError", "ResourceError", "SpawnError", "StateError", "StoppedError", "StorageError", "TimeoutError",
    "UnsupportedError",
]


class BoxliteError(Exception):
    """The base of all exceptions of this package."""

    #: Put before the library's text, for people and programs that know a family by its first words.
    prefix = ""

    def __init__(self, message: str = "", code: int = 0, code_name: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.code_name = code_name

    def __reduce__(self) -> "tuple[object, ...]":
        return (type(self), (str(self), self.code, self.code_name), self.__dict__)


CubbyError = BoxliteError


class ExecError(BoxliteError):
    """A command could not be run; its result is not known."""


class TimeoutError(BoxliteError):
    """An operation on a box took longer than it was given. Not for commands: a command whose ``timeout`` passed has a
    result that says so."""


class ParseError(BoxliteError):
    """The output of a command is not what it should be."""


class SpawnError(ExecError, RuntimeError):
    """The command could not be started at all: its user, its folder, limits of the box… The text contains
    ``spawn_failed``."""

    prefix = "spawn_failed: "


class CommandNotFoundError(SpawnError):
    """There is no such command in the box."""


class NotExecutableError(SpawnError):
    """The command is there and cannot be executed: no x bit, a folder, a wrong format."""


class ArgumentError(BoxliteError, ValueError):
    """An argument is out of its range, or not of its form."""


class UnsupportedError(BoxliteError):
    """Something that this cubby, or the agent in the box, cannot do."""


class ConfigError(BoxliteError):
    """This host lacks a file, a folder or a setting that cubby needs."""


class LibraryError(ConfigError, ImportError):
    """libcubby.so.1 is not to be found, or is not one that this package can use."""


class ImageError(BoxliteError):
    """An image cannot be fetched or used: registry, transfer, content, platform. The text begins with ``image
    error``."""

    prefix = "image error: "


class ImageNotFoundError(ImageError):
    """There is no such image, tag or root file system."""


class StorageError(BoxliteError):
    """This host's disk is full, over its quota, or broken."""


class GuestStorageError(BoxliteError):
    """The box's own disk or tmpfs is full, read-only or broken."""


class FileError(BoxliteError):
    """A file or folder cannot be copied: its kind, its permission, its size."""


class KvmError(BoxliteError):
    """There is no KVM that can be used; ``python -m cubby doctor`` tells more."""


class BootError(BoxliteError):
    """The VM ended, or hung, before it was ready."""


class GuestLostError(BoxliteError):
    """The running VM ended, or its agent stopped answering."""


class StoppedError(BoxliteError):
    """The box was stopped, or an operation was given up, as this program asked."""


class StateError(BoxliteError, RuntimeError):
    """Not possible in the present state: not started yet, stopped, removed, a stream that was taken before."""


class NotFoundError(BoxliteError, LookupError):
    """There is no such box or object."""


class ExistsError(BoxliteError):
    """There is one of that name already."""


class ResourceError(BoxliteError):
    """Out of memory, processes, descriptors or executions."""


class ProtocolError(BoxliteError):
    """The VMM or the agent sent what the protocol does not allow."""


class InternalError(BoxliteError):
    """A mistake of cubby's own; please report it."""


# enum cubby_code of cubby.h
EAGAIN, ECLOSED = -19, -20
ETIMEOUT, ESTOPPED, EGUEST_LOST, EPROTOCOL, ESTATE = -11, -12, -13, -14, -18

_CLASSES: Dict[int, Type[BoxliteError]] = {
    -1: ArgumentError,
    -2: ConfigError,
    -3: ImageNotFoundError,
    -4: ImageError,
    -5: StorageError,
    -6: KvmError,
    -7: BootError,
    -8: SpawnError,
    -9: CommandNotFoundError,
    -10: NotExecutableError,
    ETIMEOUT: TimeoutError,
    ESTOPPED: StoppedError,
    EGUEST_LOST: GuestLostError,
    EPROTOCOL: ProtocolError,
    -15: ResourceError,
    -16: ExistsError,
    -17: NotFoundError,
    ESTATE: StateError,
    ECLOSED: StateError,
    -21: UnsupportedError,
    -22: InternalError,
    -23: FileError,
    -24: FileError,
    -25: GuestStorageError,
}


def from_code(code: int, message: str, code_name: str = "") -> BoxliteError:
    """The exception for an error of libcubby; one of a newer library that is not known here is a BoxliteError."""
    kind = _CLASSES.get(code, BoxliteError)
    return kind(kind.prefix + (message or code_name or f"error {code}"), code, code_name)
