# SPDX-License-Identifier: Apache-2.0
"""The synchronous twins."""
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import cubby
from cubby import Boxlite, BoxOptions, SyncBoxlite, SyncSimpleBox
from support import Case, gone


class Sync(Case):
    def test_results(self):
        """results, errors and input"""
        with SyncSimpleBox() as box:
            result = box.exec("sh", "-c", "echo out; echo err >&2; exit 3")
            self.assertEqual((result.exit_code, result.stdout, result.stderr), (3, "out\n", "err\n"))
            with self.assertRaisesRegex(RuntimeError, "spawn_failed"):
                box.exec("nonexistent_command")
            data = os.urandom(2_000_000)
            self.assertEqual(box.exec("cat", input=data).stdout_bytes, data)
            self.assertTrue(box.exec("sleep", "600", timeout=0.3).timed_out)
            self.assertEqual(box.info().status, "running")
        self.assertEqual(box.info().status, "stopped")

    def test_execution(self):
        """an execution: lines, stdin, waits with an end, kill"""
        box = SyncBoxlite.default().create(BoxOptions())
        try:
            execution = box.exec("sh", ["-c", "printf name:; read x; echo hello $x; sleep 600"])
            out = execution.stdout()
            self.assertEqual(next(out), "name:")
            execution.stdin().send_input("you\n")
            self.assertEqual(next(out), "hello you\n")
            begin = time.monotonic()
            with self.assertRaises(cubby.TimeoutError):
                execution.wait(timeout=0.3)
            self.assertTrue(0.3 <= time.monotonic() - begin < 3)
            execution.kill()
            self.assertEqual(execution.wait().exit_code, -9)
            self.assertEqual(list(out), [])
            with self.assertRaisesRegex(RuntimeError, "stdout stream not available"):
                execution.stdout()
        finally:
            box.stop()

    def test_two_readers(self):
        """two threads read the two streams of one execution, a third waits"""
        with SyncSimpleBox() as simple:
            execution = simple.box.exec("sh", ["-c", "for i in 1 2 3 4 5; do echo o; echo e >&2; sleep 0.05; done; exit 4"])
            got = {}
            threads = [threading.Thread(target=lambda: got.update(out=list(execution.stdout()))),
                       threading.Thread(target=lambda: got.update(err=list(execution.stderr()))),
                       threading.Thread(target=lambda: got.update(code=execution.wait().exit_code))]
            for t in threads:
                t.start()
            for t in threads:
                t.join(20)
            self.assertEqual(got, {"out": ["o\n"] * 5, "err": ["e\n"] * 5, "code": 4})

    def test_runtime(self):
        """the default runtime is that of asyncio; names, removal, copies"""
        box = SyncBoxlite.default().create(name="sync", options=BoxOptions(auto_remove=False))
        self.assertEqual(Boxlite.default()._core.find("sync").id, box.id)
        self.assertEqual(SyncBoxlite.default().get("sync").id, box.id)
        self.assertEqual([i.name for i in SyncBoxlite.default().list_info()], ["sync"])
        box.start()
        self.assertEqual(box.copy_in("/etc/passwd", os.environ["TMPDIR"] + "/copy").entries, 1)
        SyncBoxlite.default().remove("sync", force=True)
        self.assertIsNone(SyncBoxlite.default().get("sync"))

    def test_failures(self):
        """the VM is killed under a command"""
        with SyncSimpleBox() as box:
            pid = box.info().state.pid
            threading.Timer(0.3, os.kill, (pid, signal.SIGKILL)).start()
            result = box.exec("sleep", "600")
            self.assertEqual(result.exit_code, -1)
            self.assertIn("lost", result.error_message)

    def test_interrupted(self):
        """Ctrl-C ends a wait and a command, and the box goes with the program"""
        code = textwrap.dedent("""
            import cubby
            with cubby.SyncSimpleBox() as box:
                print(box.info().state.pid, flush=True)
                try:
                    box.exec("sleep", "600")
                except KeyboardInterrupt:
                    print("interrupted", flush=True)
                    print(box.exec("echo", "fine").stdout, end="")
            """)
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
            pid = int(child.stdout.readline())
            time.sleep(0.5)
            child.send_signal(signal.SIGINT)
            self.assertEqual(child.stdout.read(), "interrupted\nfine\n")
            self.assertEqual(child.wait(), 0)
        self.assertTrue(gone(pid))
