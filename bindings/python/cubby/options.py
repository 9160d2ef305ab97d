# SPDX-License-Identifier: Apache-2.0
"""What boxes, runtimes and copies are made with. Each option is checked before the library sees it; what cubby cannot do
is refused with :class:`cubby.UnsupportedError`, never ignored."""
from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Any, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

from .errors import ArgumentError, UnsupportedError

#: Variables: a mapping, pairs of name and value, or "NAME=value" texts.
Environment = Union[Mapping[str, str], Iterable[Union[Tuple[str, str], str]]]
Path = Union[str, "os.PathLike[str]"]

CPUS_MAX = 64
MEMORY_MIB_MIN, MEMORY_MIB_MAX = 32, 16 * 1024 * 1024
DISK_GB_MAX = 8 * 1024
TIMEOUT_MAX_S = 10 * 365 * 86400


def c_text(value: Any, what: str) -> bytes:
    """A text for C. Raises TypeError, and ArgumentError when it holds a NUL."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    if "\0" in value:
        raise ArgumentError(f"{what} holds a NUL character")
    return value.encode("utf-8", "surrogateescape")


def optional_text(value: Any, what: str) -> Optional[bytes]:
    """Like c_text(); None stays None."""
    return None if value is None else c_text(value, what)


def number(value: Any, what: str, least: int, most: int) -> int:
    """A whole number of a range. Raises TypeError, ArgumentError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} must be an int, not {type(value).__name__}")
    if not least <= value <= most:
        raise ArgumentError(f"{what} is {value}, not {least} to {most}")
    return value


def milliseconds(seconds: Any, what: str) -> int:
    """Seconds as milliseconds, 0 for None; what is above 0 does not become 0. Raises TypeError, ArgumentError."""
    if seconds is None:
        return 0
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{what} must be a number of seconds, not {type(seconds).__name__}")
    if not math.isfinite(seconds) or seconds < 0 or seconds > TIMEOUT_MAX_S:
        raise ArgumentError(f"{what} is {seconds}: it is in seconds, 0 or more")
    return math.ceil(seconds * 1000)


def variables(env: Optional[Environment], what: str = "env") -> List[bytes]:
    """As C has them, "NAME=value". Raises TypeError, ArgumentError."""
    if env is None:
        return []
    if isinstance(env, (str, bytes)):
        raise TypeError(f"{what} must be a mapping or a list of pairs, not {type(env).__name__}")
    made = []
    for item in env.items() if isinstance(env, Mapping) else env:
        name, found, value = item.partition("=") if isinstance(item, str) else (item[0], True, item[1])
        if not found or not name or "=" in name:
            raise ArgumentError(f"{what} has a variable without a name or a value: {item!r}")
        made.append(c_text(name, what) + b"=" + c_text(value, what))
    return made


def _refuse(given: Any, what: str, instead: str = "") -> None:
    if given:
        raise UnsupportedError(f"{what} is not supported by this cubby{instead and '; ' + instead}")


def _network_disabled(network: Any) -> bool:
    return network is None or "disabled" in (network, getattr(network, "mode", None))


@dataclass(frozen=True)
class ImageRegistry:
    """How a registry is spoken to.

    ``host`` is its "HOST" or "HOST:PORT"; ``transport`` "https", or "http" for one without encryption. Certificates are
    always verified, and credentials come from Docker's configuration file.
    """

    host: str
    transport: str = "https"
    skip_verify: bool = False
    search: bool = False
    auth: Any = None

    def __post_init__(self) -> None:
        if self.transport not in ("https", "http"):
            raise ArgumentError(f"the transport of '{self.host}' is {self.transport!r}, not 'https' or 'http'")
        _refuse(self.skip_verify, "skip_verify", "give the registry a certificate that this host trusts")
        _refuse(self.search, "search", "name the registry in the image's reference, or set mirrors in cubby-config(5)")
        _refuse(self.auth, "auth", "log in with 'docker login', whose configuration cubby reads")


@dataclass(frozen=True)
class Options:
    """Of a runtime.

    ``home_dir`` is where images are kept: an absolute path, made when it is not there; None: ``CUBBY_HOME``, else
    ``XDG_DATA_HOME/cubby``, else ``~/.local/share/cubby``.
    ``image_registries`` names registries that are not spoken to by https.
    """

    home_dir: Optional[Path] = None
    image_registries: Sequence[ImageRegistry] = ()

    def __post_init__(self) -> None:
        if self.home_dir is not None and not os.path.isabs(c_text(self.home_dir, "home_dir")):
            raise ArgumentError(f"home_dir is '{os.fspath(self.home_dir)}', which is not an absolute path")


@dataclass
class BoxOptions:
    """Of a box.

    ``image``        a reference as Docker takes it ("python:slim"), pulled when it is not there; None with no
                     ``rootfs_path``: cubby's own small image, which needs no network.
    ``rootfs_path``  in its place an ext4 image, or a folder that becomes one; never written to.
    ``cpus``         1 to 64, default 1. ``memory_mib``: 32 to 16 Mi, default 512.
    ``disk_size_gb`` 1 to 8192: what the box writes goes to a sparse disk of this size that lasts while the box is stopped
                     and started; None: it is kept in the box's memory, and forgotten when the VM ends.
    ``env``, ``working_dir``, ``user`` are those of commands that do not say otherwise; None: the image's.
                     ``user`` is "name|uid[:group|gid]" and is looked up in the box.
    ``name``         finds the box again: see :meth:`cubby.Boxlite.get`.
    ``auto_remove``  the box is removed when it is stopped; False: it can be started again.
    ``boot_timeout`` seconds from its start until it is ready, default 60.

    What else is there is known from other systems and refused with UnsupportedError unless it is empty; a ``network`` that
    is "disabled" is what each box has.
    """

    image: Optional[str] = None
    cpus: Optional[int] = None
    memory_mib: Optional[int] = None
    disk_size_gb: Optional[int] = None
    working_dir: Optional[str] = None
    env: Optional[Environment] = None
    rootfs_path: Optional[Path] = None
    user: Optional[str] = None
    name: Optional[str] = None
    auto_remove: bool = True
    boot_timeout: Optional[float] = None
    detach: bool = False
    entrypoint: Optional[Sequence[str]] = None
    cmd: Optional[Sequence[str]] = None
    volumes: Any = None
    network: Any = None
    ports: Any = None
    tty: bool = False
    secrets: Any = None
    advanced: Any = None

    def check(self) -> None:
        """Raises TypeError, ArgumentError or UnsupportedError for what cannot be. Called when a box is created."""
        if self.image is not None and self.rootfs_path is not None:
            raise ArgumentError("a box has an image or a rootfs_path, not both")
        optional_text(self.image, "image")
        optional_text(self.working_dir, "working_dir")
        optional_text(self.user, "user")
        variables(self.env)
        self._check_rootfs()
        if self.cpus is not None:
            number(self.cpus, "cpus", 1, CPUS_MAX)
        if self.memory_mib is not None:
            number(self.memory_mib, "memory_mib", MEMORY_MIB_MIN, MEMORY_MIB_MAX)
        if self.disk_size_gb is not None:
            number(self.disk_size_gb, "disk_size_gb", 1, DISK_GB_MAX)
        number(milliseconds(self.boot_timeout, "boot_timeout"), "boot_timeout in milliseconds", 0, 2**31 - 1)
        self._check_unsupported()

    def _check_rootfs(self) -> None:
        if self.rootfs_path is None:
            return
        c_text(self.rootfs_path, "rootfs_path")
        if os.path.exists(os.path.join(self.rootfs_path, "oci-layout")):
            raise UnsupportedError(f"'{os.fspath(self.rootfs_path)}' is an OCI image layout, not a root file system; load "
                                   "it with runtime.images.load(), and name it in image")

    def _check_unsupported(self) -> None:
        _refuse(self.volumes, "volumes", "use copy_in() and copy_out()")
        _refuse(not _network_disabled(self.network), "network", "boxes have none")
        _refuse(self.ports, "ports", "boxes have no network")
        _refuse(self.secrets, "secrets", "use env")
        _refuse(self.advanced, "advanced")
        _refuse(self.tty, "tty of a box", "use that of exec()")
        _refuse(self.detach, "detach", "a box ends with the program that made it")
        _refuse(self.entrypoint or self.cmd, "a command of the box itself", "use exec()")


@dataclass(frozen=True)
class CopyOptions:
    """Of :meth:`cubby.Box.copy_in` and :meth:`cubby.Box.copy_out`.

    ``recursive``        False: a folder is refused with ArgumentError.
    ``overwrite``        False: what exists at the target and is no folder is refused with ExistsError.
    ``follow_symlinks``  if the source itself is a symbolic link, what it points to is copied.
    ``include_parent``   a folder goes into a target that is a folder under its own name; False: what is in it does.
    """

    recursive: bool = True
    overwrite: bool = True
    follow_symlinks: bool = False
    include_parent: bool = True


@dataclass(frozen=True)
class ExecRequest:
    """One command, checked and as C takes it. Made by request()."""

    argv: List[bytes] = field(default_factory=list)
    env: List[bytes] = field(default_factory=list)
    workdir: Optional[bytes] = None
    user: Optional[bytes] = None
    timeout_ms: int = 0
    stdin: bool = False
    tty: bool = False


def request(box: BoxOptions, argv: Sequence[str], env: Optional[Environment] = None, user: Optional[str] = None,
            timeout: Optional[float] = None, cwd: Optional[str] = None, stdin: bool = False,
            tty: bool = False) -> ExecRequest:
    """A command in a box whose options say what this does not. Raises TypeError, ArgumentError."""
    return ExecRequest([c_text(word, "a word of the command") for word in argv], variables(env),
                       optional_text(cwd if cwd is not None else box.working_dir, "cwd"),
                       optional_text(user if user is not None else box.user, "user"),
                       milliseconds(timeout, "timeout"), stdin, bool(tty))
