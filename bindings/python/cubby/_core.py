# SPDX-License-Identifier: Apache-2.0
"""A runtime with its boxes and images, without an event loop: what Boxlite and SyncBoxlite are made of.

Boxes are known by id, unique prefix of an id, or name to the runtime that made them, and live as long as this process at
the most. All methods may be called from any thread; those that block say so.
"""
from __future__ import annotations

import ctypes as c
import dataclasses
import datetime
import os
import threading
from typing import Any, Callable, Dict, List, Optional, Set, Union

from . import _library as lib
from ._native import NativeBox, NativeExec, strings
from .errors import ArgumentError, BoxliteError, ExistsError, NotFoundError, StateError
from .options import BoxOptions, CopyOptions, ExecRequest, Options, c_text, milliseconds, number, optional_text
from .results import (STATUS, BoxInfo, BoxStateInfo, CopyReport, ImageInfo, PullProgress, image_of, progress_of)

GRACE_MS = 2000
DEFAULT_IMAGE = ""
ID_PREFIX_MIN = 4
NAME_MAX = 63
NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check_name(name: Optional[str]) -> None:
    """Raises TypeError or ArgumentError for what cannot be the name of a box."""
    if name is None:
        return
    c_text(name, "name")
    if not 1 <= len(name) <= NAME_MAX or not NAME_CHARS.issuperset(name) or not name[0].isalnum():
        raise ArgumentError(f"the name {name!r} is not 1 to {NAME_MAX} of a-z, A-Z, 0-9, '_', '.' and '-', the first a "
                            "letter or digit")


class BoxCore:
    """One box of a runtime."""

    def __init__(self, runtime: "RuntimeCore", options: BoxOptions, native: NativeBox) -> None:
        self.runtime = runtime
        self.options = options
        self.native = native
        self.id = native.id
        self.name = options.name
        self._lock = threading.RLock()  # a dropped execution may be finalized anywhere
        self._created_at = _now()
        self._started_at: Optional[str] = None
        self._removed: Optional[str] = None
        #: Whoever drops an execution does not end it: it is kept here until it has ended, or the box is removed.
        self._running: Set[NativeExec] = set()

    def launch(self) -> None:
        """Starts the VM unless it is started; does not wait for it. Raises StateError for a removed box."""
        with self._lock:
            self._check_there()
            if self.native.state() in (lib.CONFIGURED, lib.STOPPED, lib.FAILED):
                self.native.start()
                self._started_at = _now()

    def launch_for_use(self) -> None:
        """Starts a box that was never started, or was stopped; one that has failed only launch() starts. Raises
        StateError for a removed box."""
        if self.native.state() in (lib.CONFIGURED, lib.STOPPED):
            self.launch()
        self._check_there()

    def exec(self, what: ExecRequest) -> NativeExec:
        """Starts a command in a box that is ready; returns at once. Raises BoxliteError.

        Nobody starts one earlier, though libcubby would take it: who waits for the boot first learns that the box was
        removed meanwhile as start() does, from its Watch."""
        self._check_there()
        native = self.native.exec(what)
        with self._lock:
            if not self._removed:
                self._running.add(native)
        return native

    def forget(self, native: NativeExec) -> None:
        """It has ended, or is to end."""
        with self._lock:
            self._running.discard(native)

    def ready_error(self) -> Optional[Exception]:
        """Why a box that has left its starting state does not run; None when it does."""
        if self._removed:
            return StateError(self._removed, -18, "wrong-state")
        if self.native.state() in (lib.RUNNING, lib.STARTING):
            return None
        return self.native.failure() or StateError("the box is not started", -18, "wrong-state")

    def stop(self, grace_ms: int = GRACE_MS) -> None:
        """Stops it, and removes it when it was made so. Blocks; again is fine."""
        try:
            self.native.stop(grace_ms)
        except StateError:
            if not self._removed:
                raise
        if self.options.auto_remove:
            self.remove("the box was removed when it stopped: make it with auto_remove=False to start it again")

    def remove(self, why: str = "the box was removed") -> None:
        """Kills what runs, and removes all of it. Blocks for a moment; again is fine."""
        with self._lock:
            self._removed = self._removed or why
            running, self._running = self._running, set()
        del running
        self.runtime.forget_box(self)
        self.native.destroy()

    def _check_there(self) -> None:
        if self._removed:
            raise StateError(self._removed, -18, "wrong-state")

    def copy(self, into: bool, source: Any, target: Any, options: CopyOptions, cancel_fd: int) -> CopyReport:
        """Of a box that is ready. Blocks. Raises BoxliteError."""
        self._check_there()
        if not options.recursive and into and os.path.isdir(source):
            raise ArgumentError(f"'{os.fspath(source)}' is a folder, and the copy is not recursive")
        if not options.recursive and not into:
            raise ArgumentError("recursive=False is for copies into a box")
        if not options.include_parent and (not into or os.path.isdir(source)):
            source = os.path.join(os.fspath(source), ".")
        result = self.native.copy(into, source, target, options, cancel_fd)
        return CopyReport(result.entries, result.bytes, result.skipped, result.xattrs_lost)

    def info(self) -> BoxInfo:
        """What is known now; asks nobody."""
        state, pid, reason = lib.STOPPED, 0, self._removed
        if not self._removed:
            try:
                state, pid, failure = self.native.state(), self.native.pid(), self.native.failure()
                reason = str(failure) if failure else None
            except StateError as e:  # removed since
                reason = str(e)
        options = self.options
        return BoxInfo(
            id=self.id, name=self.name, state=BoxStateInfo(STATUS.get(state, "unknown"), pid != 0, pid or None),
            image=options.image or (os.fspath(options.rootfs_path) if options.rootfs_path else DEFAULT_IMAGE),
            cpus=options.cpus or 1, memory_mib=options.memory_mib or 512, created_at=self._created_at,
            started_at=self._started_at, reason=reason)


class RuntimeCore:
    """Images of one home, and the boxes that this object has made."""

    _default: Optional["RuntimeCore"] = None
    _default_lock = threading.Lock()

    def __init__(self, options: Optional[Options] = None) -> None:
        self.options = options or Options()
        self._lock = threading.Lock()
        self._boxes: Dict[str, BoxCore] = {}
        self._names: Set[str] = set()
        self._images: Optional[int] = None
        self._closed = False

    @classmethod
    def default(cls) -> "RuntimeCore":
        """That of this process, with the default home."""
        with cls._default_lock:
            if cls._default is None or cls._default._closed:
                cls._default = cls()
            return cls._default

    def images(self) -> int:
        """struct cubby_images, opened when it is first needed. Raises BoxliteError."""
        with self._lock:
            self._check_open()
            if self._images is None:
                insecure = [c_text(r.host, "a registry") for r in self.options.image_registries
                            if r.transport == "http"]
                o = lib.ImagesOptions(size=c.sizeof(lib.ImagesOptions),
                                      home=optional_text(self.options.home_dir, "home_dir"),
                                      insecure_registries=strings(insecure) if insecure else None)
                handle, error = c.c_void_p(), lib.Error()
                lib.check(lib.library().cubby_images_open(c.byref(handle), c.byref(o), c.byref(error)), error)
                self._images = handle.value
            return self._images or 0

    def _check_open(self) -> None:
        if self._closed:
            raise StateError("the runtime was closed", -18, "wrong-state")

    # ---- boxes

    def create(self, options: BoxOptions, name: Optional[str], cancel_fd: int) -> BoxCore:
        """Blocks while the image is pulled. Raises BoxliteError, ExistsError for a name that is taken."""
        options = dataclasses.replace(options, name=name if name is not None else options.name)
        check_name(options.name)
        options.check()
        self._take_name(options.name)
        try:
            native = NativeBox(options, self.images() if options.image else None, cancel_fd)
            box = BoxCore(self, options, native)
            with self._lock:
                self._check_open()
                self._boxes[box.id] = box
        except BaseException:
            self._give_name(options.name)
            raise
        return box

    def _take_name(self, name: Optional[str]) -> None:
        with self._lock:
            self._check_open()
            if name is not None and name in self._names:
                raise ExistsError(f"there is a box named '{name}' already", -16, "exists")
            if name is not None:
                self._names.add(name)

    def _give_name(self, name: Optional[str]) -> None:
        with self._lock:
            self._names.discard(name or "")

    def forget_box(self, box: BoxCore) -> None:
        """It was removed."""
        with self._lock:
            known = self._boxes.pop(box.id, None)
        if known:
            self._give_name(box.name)

    def find(self, id_or_name: str) -> Optional[BoxCore]:
        """By name, id, or the first four or more characters of an id. Raises ArgumentError for the beginning of
        several."""
        c_text(id_or_name, "id_or_name")
        with self._lock:
            boxes = list(self._boxes.values())
        for box in boxes:
            if id_or_name in (box.name, box.id):
                return box
        found = [b for b in boxes if len(id_or_name) >= ID_PREFIX_MIN and b.id.startswith(id_or_name)]
        if len(found) > 1:
            raise ArgumentError(f"'{id_or_name}' is the beginning of several ids")
        return found[0] if found else None

    def list(self) -> List[BoxInfo]:
        """Of all boxes, oldest first."""
        with self._lock:
            boxes = list(self._boxes.values())
        return [box.info() for box in boxes]

    def remove(self, id_or_name: str, force: bool) -> None:
        """Blocks for a moment. Raises NotFoundError; StateError for a box that runs, without `force`."""
        box = self.find(id_or_name)
        if box is None:
            raise NotFoundError(f"there is no box '{id_or_name}'", -17, "not-found")
        if not force and box.native.state() in (lib.STARTING, lib.RUNNING, lib.STOPPING):
            raise StateError(f"the box '{id_or_name}' runs; stop it, or force it", -18, "wrong-state")
        box.remove()

    def close(self, grace_ms: int = GRACE_MS) -> None:
        """Stops and removes all boxes; the runtime is of no more use. Blocks; again is fine."""
        with self._lock:
            self._closed = True
            boxes = list(self._boxes.values())
        threads = [threading.Thread(target=self._end, args=(box, grace_ms)) for box in boxes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    @staticmethod
    def _end(box: BoxCore, grace_ms: int) -> None:
        try:
            box.native.stop(grace_ms)
        except BoxliteError:
            pass  # it ends in the next line at the latest
        box.remove("the box was removed when its runtime was closed")

    def __del__(self) -> None:
        if self._images and lib:
            lib.library().cubby_images_close(self._images)

    # ---- images

    def pull(self, reference: str, platform: Optional[str], policy: str,
             progress: Optional[Callable[[PullProgress], object]], cancel_fd: int) -> ImageInfo:
        """Blocks. `progress` is called in this thread; what it raises ends the pull and is raised."""
        if policy not in lib.PULL_POLICIES:
            raise ArgumentError(f"policy is {policy!r}, not 'missing', 'always' or 'never'")
        raised: List[BaseException] = []

        def told(_context: Any, event: Any) -> None:
            try:
                if progress and not raised:
                    progress(progress_of(event.contents))
            except BaseException as e:
                raised.append(e)  # C cannot be unwound

        o = lib.PullOptions(size=c.sizeof(lib.PullOptions), platform=optional_text(platform, "platform"),
                            policy=lib.PULL_POLICIES[policy], cancel_fd=cancel_fd)
        if progress:
            o.progress = lib.PullProgress(told)
        image, error = c.POINTER(lib.Image)(), lib.Error()
        code = lib.library().cubby_images_pull(self.images(), c_text(reference, "reference"), c.byref(o),
                                               c.byref(image), None, c.byref(error))
        if raised and code >= 0:
            lib.library().cubby_image_free(image)
        if raised:
            raise raised[0]
        lib.check(code, error)
        return self._taken(image)

    @staticmethod
    def _taken(image: Any) -> ImageInfo:
        try:
            return image_of(image.contents)
        finally:
            lib.library().cubby_image_free(image)

    def image(self, reference: str, platform: Optional[str]) -> ImageInfo:
        """One that is there. Raises ImageNotFoundError."""
        image, error = c.POINTER(lib.Image)(), lib.Error()
        lib.check(lib.library().cubby_images_inspect(self.images(), c_text(reference, "reference"),
                                                     optional_text(platform, "platform"), c.byref(image),
                                                     c.byref(error)), error)
        return self._taken(image)

    def list_images(self) -> List[ImageInfo]:
        """All, by reference."""
        found, error = c.POINTER(c.POINTER(lib.Image))(), lib.Error()
        n = lib.check(lib.library().cubby_images_list(self.images(), c.byref(found), c.byref(error)), error)
        try:
            return [image_of(found[i].contents) for i in range(n)]
        finally:
            lib.library().cubby_images_list_free(found)

    def remove_image(self, reference: str, platform: Optional[str]) -> None:
        """Forgets a reference. Raises ImageNotFoundError."""
        error = lib.Error()
        lib.check(lib.library().cubby_images_remove(self.images(), c_text(reference, "reference"),
                                                    optional_text(platform, "platform"), c.byref(error)), error)

    def load_images(self, path: Any, name: Optional[str], cancel_fd: int) -> List[ImageInfo]:
        """Blocks. From an OCI layout, an archive of `docker save`, or a root file system."""
        loaded: List[ImageInfo] = []
        o = lib.LoadOptions(size=c.sizeof(lib.LoadOptions), name=optional_text(name, "name"), cancel_fd=cancel_fd,
                            loaded=lib.ImageLoaded(lambda _context, image: loaded.append(image_of(image.contents))))
        error = lib.Error()
        lib.check(lib.library().cubby_images_load(self.images(), c_text(path, "path"), c.byref(o), c.byref(error)),
                  error)
        return loaded


def grace(seconds: Union[int, float, None]) -> int:
    """Milliseconds that a guest has to power off."""
    return GRACE_MS if seconds is None else number(milliseconds(seconds, "grace"), "grace in milliseconds", 0, 2**31 - 1)
