# SPDX-License-Identifier: Apache-2.0
"""For the tests of the Python package: a place with assets in it, a base class, TAP.

Each test method is one test, named by the first line of its docstring; a coroutine runs in an event loop of its own. A
test that hangs shows where, and ends the program.
"""
import asyncio
import contextlib
import faulthandler
import os
import shutil
import subprocess
import tempfile
import time
import traceback
import unittest

DEADLINE_S = 60
PAGE = 4096


class Place:
    """Folders of their own, and assets whose cubby-vmm is tests/python/vmm.c: boxes without KVM, in which commands are
    processes of this host."""

    def __init__(self, vmm):
        self.root = tempfile.mkdtemp(prefix="cubby-py.")
        for name in ("assets", "run", "tmp", "home"):
            os.mkdir(os.path.join(self.root, name), 0o700)
        self.assets = os.path.join(self.root, "assets")
        os.symlink(vmm, os.path.join(self.assets, "cubby-vmm"))
        for name in ("vmlinux", "initrd.cpio"):
            self.write(name, name.encode())
        self.write("default.ext4", bytes(1080) + b"\x53\xef")
        os.environ.update(CUBBY_ASSETS=self.assets, XDG_RUNTIME_DIR=os.path.join(self.root, "run"),
                          TMPDIR=os.path.join(self.root, "tmp"), CUBBY_HOME=os.path.join(self.root, "home"),
                          XDG_CONFIG_HOME=os.path.join(self.root, "config"))
        for name in ("CUBBY_LOG", "RUST_LOG", "FAKE_VMM"):
            os.environ.pop(name, None)

    def write(self, name, data):
        """A file of the assets."""
        with open(os.path.join(self.assets, name), "wb") as f:
            f.write(data)

    def remove(self):
        """All of it."""
        shutil.rmtree(self.root)

    def boxes(self):
        """Folders of boxes that are there."""
        base = os.path.join(self.root, "run", "cubby")
        names = os.listdir(base) if os.path.isdir(base) else []
        return [n for n in names if not n.startswith(".") and n != "kvm-probe"]


def descriptors():
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


def children():
    """Processes that this one has started and that are there."""
    out = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True,
                         check=False).stdout
    return [line for line in out.splitlines() if "ps -o" not in line]


@contextlib.contextmanager
def variable(name, value):
    """Set for a while."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def gone(pid, within=10.0):
    """True when no process of that pid runs any more, in time. A zombie of another parent does not run."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                if f.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


class Case(unittest.TestCase):
    """A base for tests: a coroutine method runs in asyncio.run()."""

    def _callTestMethod(self, method):
        if asyncio.iscoroutinefunction(method):
            asyncio.run(method())
        else:
            method()


class _Tap(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.number = 0

    def startTest(self, test):
        super().startTest(test)
        faulthandler.dump_traceback_later(DEADLINE_S, exit=True)

    def _say(self, ok, test, error=None):
        faulthandler.cancel_dump_traceback_later()
        self.number += 1
        if error:
            for line in "".join(traceback.format_exception(*error)).splitlines():
                print("# " + line)
        print(f"{'' if ok else 'not '}ok {self.number} - {test.shortDescription() or test.id()}", flush=True)

    def addSuccess(self, test):
        self._say(True, test)

    def addError(self, test, err):
        super().addError(test, err)
        self._say(False, test, err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._say(False, test, err)


def run(*modules, only=""):
    """Runs the tests of modules whose names hold `only`; 0 when all were fine."""
    suite = unittest.TestSuite()
    for module in modules:
        suite.addTests(unittest.defaultTestLoader.loadTestsFromModule(module))
    tests = [t for one in suite for t in (one if isinstance(one, unittest.TestSuite) else [one])]
    tests = [t for t in tests if only in t.id()]
    result = _Tap()
    print(f"1..{len(tests)}")
    for test in tests:
        test.run(result)
    return 0 if result.wasSuccessful() else 1
