# SPDX-License-Identifier: Apache-2.0
"""Commands in a box, in event loops. T1 to T19 are statements of the tutorial that this package is measured by."""
import asyncio
import gc
import os
import random
import signal
import threading
import time

import cubby
from cubby import Boxlite, BoxOptions, SimpleBox
from support import Case, children, descriptors, gone, variable


class Results(Case):
    async def test_t1_echo(self):
        """T1: exit code 0 and stdout, exactly"""
        async with SimpleBox() as box:
            result = await box.exec("echo", "hello")
        self.assertEqual((result.exit_code, result.stdout, result.stderr), (0, "hello\n", ""))

    async def test_t2_failure(self):
        """T2: a failing command raises nothing"""
        async with SimpleBox() as box:
            result = await box.exec("python3", "-c", "import nonexistent_module")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("ModuleNotFoundError", result.stderr)

    async def test_t3_output(self):
        """T3: the output of a computation"""
        async with SimpleBox() as box:
            result = await box.exec("python3", "-c", "print(2 + 2)")
        self.assertEqual((result.exit_code, result.stdout.strip()), (0, "4"))

    async def test_t4_fields(self):
        """T4: the fields of a result, and what we tell beyond them"""
        async with SimpleBox() as box:
            result = await box.exec("sh", "-c", "sleep 0.2; printf '\\377'; exit 3")
        self.assertIs(type(result.exit_code), int)
        self.assertIs(type(result.stdout), str)
        self.assertIsNone(result.error_message)
        self.assertEqual((result.stdout, result.stdout_bytes, result.ok), ("\ufffd", b"\xff", False))
        self.assertEqual((result.timed_out, result.signal, result.oom_killed), (False, None, False))
        self.assertTrue(0.2 <= result.duration < 30)
        self.assertGreater(result.status.max_rss_bytes, 0)

    async def test_t6_not_found(self):
        """T6: a command that is not there is caught as a RuntimeError first, and the box is cleaned up"""
        caught = None
        try:
            async with SimpleBox() as box:
                pid = (await box.info()).state.pid
                await box.exec("nonexistent_command")
        except RuntimeError as e:
            caught = e
        except cubby.TimeoutError:
            self.fail("caught as a TimeoutError")
        except cubby.BoxliteError as e:
            self.fail(f"caught as {e!r}")
        self.assertIsInstance(caught, cubby.CommandNotFoundError)
        self.assertIn("spawn_failed", str(caught))
        self.assertIn("nonexistent_command", str(caught))
        self.assertTrue(gone(pid))
        self.assertEqual(await Boxlite.default().list_info(), [])

    async def test_t6_not_executable(self):
        """T6, T16e: what cannot be executed is a spawn failure of its own kind"""
        async with SimpleBox() as box:
            with self.assertRaises(cubby.NotExecutableError) as caught:
                await box.exec("/etc/passwd")
            self.assertIn("spawn_failed", str(caught.exception))
            with self.assertRaises(cubby.SpawnError):
                await box.exec("true", cwd="/nonexistent-folder")
            self.assertEqual((await box.exec("echo", "fine")).stdout, "fine\n")

    async def test_t8_exit(self):
        """T8: sys.exit(42)"""
        async with SimpleBox() as box:
            self.assertEqual((await box.exec("python3", "-c", "import sys; sys.exit(42)")).exit_code, 42)

    async def test_t16_codes(self):
        """T16: 127 of a shell, 137 through a shell, -9 of the process itself"""
        async with SimpleBox() as box:
            self.assertEqual((await box.exec("sh", "-c", "nope")).exit_code, 127)
            self.assertEqual((await box.exec("sh", "-c", "sh -c 'kill -9 $$'; exit $?")).exit_code, 137)
            killed = await box.exec("sh", "-c", "kill -9 $$")
            self.assertEqual((killed.exit_code, killed.signal, killed.error_message), (-9, 9, None))

    async def test_t18_never_raises(self):
        """T18: no exit code and no signal raises"""
        chosen = random.Random(18)
        async with SimpleBox() as box:
            for code in [0, 1, 126, 127, 128, 255] + [chosen.randrange(256) for _ in range(10)]:
                self.assertEqual((await box.exec("sh", "-c", f"exit {code}")).exit_code, code)
            for number in (1, 2, 3, 6, 9, 11, 13, 15, 34, 64):
                result = await box.exec("sh", "-c", f"ulimit -c 0; kill -{number} $$")
                self.assertEqual((result.exit_code, result.signal), (-number, number))

    async def test_environment(self):
        """environment, folder and user of the box, and of one command over them"""
        async with SimpleBox(env={"A": "box", "B": "box"}, working_dir="/usr") as box:
            result = await box.exec("sh", "-c", "echo $A $B $C; pwd", env=[("B", "command"), "C=x=y"])
            self.assertEqual(result.stdout, "box command x=y\n/usr\n")
            result = await box.exec("sh", "-c", "pwd; id -u", cwd="/", user="1234:4321")
            self.assertEqual(result.stdout, "/\n1234\n")

    async def test_input(self):
        """what is given as input is read, all of it, and then end of file"""
        data = os.urandom(3_000_000)
        async with SimpleBox() as box:
            result = await box.exec("cat", input=data)
            self.assertEqual(result.stdout_bytes, data)
            self.assertEqual((await box.exec("cat", input="ä")).stdout, "ä")
            self.assertEqual((await box.exec("cat", input="")).stdout, "")
            self.assertEqual((await box.exec("cat")).stdout, "")
            self.assertEqual((await box.exec("true", input=data)).exit_code, 0)

    async def test_both_streams(self):
        """much on both streams at once"""
        async with SimpleBox() as box:
            result = await box.exec("sh", "-c", "head -c 3000000 /dev/zero & head -c 2000000 /dev/zero >&2; wait")
        self.assertEqual((len(result.stdout_bytes), len(result.stderr_bytes)), (3_000_000, 2_000_000))

    async def test_timeout(self):
        """a timeout of its own ends all its processes, and is a result"""
        async with SimpleBox() as box:
            begin = time.monotonic()
            result = await box.exec("sh", "-c", "echo $$; sleep 600 & wait", timeout=0.5)
            self.assertLess(time.monotonic() - begin, 20)
            self.assertEqual((result.timed_out, result.exit_code, result.error_message), (True, -15, None))
            self.assertTrue(gone(int(result.stdout)))
            self.assertEqual((await box.exec("echo", "0", timeout=0)).stdout, "0\n")

    async def test_bad_arguments(self):
        """wrong arguments are told before anything runs"""
        async with SimpleBox() as box:
            for bad in ({"timeout": -1}, {"timeout": float("nan")}, {"env": {"A=B": "x"}}, {"cwd": "a\0"}):
                with self.assertRaises(cubby.ArgumentError):
                    await box.exec("true", **bad)
            with self.assertRaises(TypeError):
                await box.exec("true", 3)
            with self.assertRaises(cubby.ArgumentError):
                await box.exec("true", user="")


class Waiting(Case):
    async def test_t9_wait_for(self):
        """T9: a wait that is given up leaves the box usable at once, and the command running until the box ends"""
        async with SimpleBox() as box:
            marker = f"{random.random()}"
            begin = time.monotonic()
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(box.exec("sh", "-c", f"echo $$ >/tmp/{marker}; exec sleep 3600"), 1.0)
            self.assertLess(time.monotonic() - begin, 2.5)
            result = await box.exec("echo", "still alive")
            self.assertEqual(result.stdout.strip(), "still alive")
            with open(f"/tmp/{marker}", encoding="ascii") as f:
                pid = int(f.read())
            os.unlink(f"/tmp/{marker}")
            os.kill(pid, 0)
        self.assertTrue(gone(pid))

    async def test_t9_output_goes_on(self):
        """T9: nor does its output hold it up then"""
        marker = f"/tmp/{random.random()}"
        async with SimpleBox() as box:
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(box.exec("sh", "-c", f"sleep 1; head -c 5000000 /dev/zero; touch {marker}"), 0.3)
            for _ in range(500):
                if os.path.exists(marker):
                    break
                await asyncio.sleep(0.02)
            self.assertTrue(os.path.exists(marker))
            os.unlink(marker)

    async def test_t10_helper(self):
        """T10: in time it is the result, else None"""
        async def within(seconds, *words):
            try:
                return await asyncio.wait_for(box.exec(*words), seconds)
            except asyncio.TimeoutError:
                return None
        async with SimpleBox() as box:
            self.assertEqual((await within(10, "echo", "fast")).stdout.strip(), "fast")
            self.assertIsNone(await within(0.5, "sleep", "3600"))

    async def test_t11_kill(self):
        """T11: an execution is there at once, outlives a wait, and kill() ends all its processes"""
        runtime = Boxlite.default()
        box = await runtime.create(BoxOptions())
        try:
            execution = await box.exec("sh", ["-c", "sleep 3600 & echo $! $$; wait"])
            pids = [int(p) for p in (await execution.stdout().__anext__()).split()]
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(execution.wait(), 0.5)
            os.kill(pids[1], 0)
            await execution.kill()
            result = await execution.wait()
            self.assertEqual((result.exit_code, result.signal), (-9, 9))
            for pid in pids:
                self.assertTrue(gone(pid))
            await execution.kill()
            await execution.signal(15)
        finally:
            await box.stop()
        self.assertEqual((await execution.wait()).exit_code, -9)

    async def test_waiters(self):
        """many wait at once, some give up, none harms another"""
        async with SimpleBox() as simple:
            execution = await simple.box.exec("sh", ["-c", "read x; exit $x"])
            waits = [asyncio.ensure_future(execution.wait()) for _ in range(20)]
            await asyncio.sleep(0.05)
            for wait in waits[::2]:
                wait.cancel()
            stdin = execution.stdin()
            await stdin.send_input("7\n")
            results = await asyncio.gather(*waits, return_exceptions=True)
            self.assertTrue(all(isinstance(r, asyncio.CancelledError) for r in results[::2]))
            self.assertEqual({r.exit_code for r in results[1::2]}, {7})

    async def test_wait_without_reading(self):
        """wait() does not wait for a reader, and what it kept is there afterwards"""
        async with SimpleBox() as simple:
            execution = await simple.box.exec("sh", ["-c", "head -c 2000000 /dev/zero; echo end >&2"])
            self.assertEqual((await asyncio.wait_for(execution.wait(), 30)).exit_code, 0)
            size = 0
            async for piece in execution.stdout_bytes():
                size += len(piece)
            self.assertEqual(size, 2_000_000)
            self.assertEqual([line async for line in execution.stderr()], ["end\n"])

    async def test_signal(self):
        """a signal by number, and bad ones"""
        async with SimpleBox() as simple:
            execution = await simple.box.exec("sh", ["-c", "trap 'exit 5' USR1; echo up; while :; do sleep 0.05; done"])
            await execution.stdout().__anext__()
            with self.assertRaises(cubby.ArgumentError):
                await execution.signal(65)
            with self.assertRaises(cubby.StateError):
                await execution.resize_tty(10, 10)
            await execution.signal(signal.SIGUSR1)
            self.assertEqual((await execution.wait()).exit_code, 5)

    async def test_dropped(self):
        """a command whose object is dropped runs on, its output holding it up no more"""
        marker = f"/tmp/{random.random()}"
        async with SimpleBox() as simple:
            await simple.box.exec("sh", ["-c", f"head -c 3000000 /dev/zero; echo $$ >{marker}; exec sleep 600"])
            gc.collect()
            for _ in range(500):
                if os.path.exists(marker) and os.path.getsize(marker):
                    break
                await asyncio.sleep(0.02)
            with open(marker, encoding="ascii") as f:
                pid = int(f.read())
            os.unlink(marker)
            os.kill(pid, 0)
        self.assertTrue(gone(pid))


class Streams(Case):
    PROGRAM = """
import sys, time
for i in range(5):
    print(f"Progress: {i+1}/5")
    sys.stdout.flush()
    if i == 2:
        print("Warning: something looks off", file=sys.stderr)
        sys.stderr.flush()
    time.sleep(0.3)
print("Done!")
"""

    async def test_t12_in_time(self):
        """T12: lines arrive when they are written, both streams at once, then both end"""
        box = await Boxlite.default().create(BoxOptions())
        try:
            execution = await box.exec("python3", ["-c", self.PROGRAM])
            seen = []

            async def read(name, stream):
                async for line in stream:
                    seen.append((name, line, time.monotonic()))
            await asyncio.gather(read("out", execution.stdout()), read("err", execution.stderr()))
            self.assertEqual((await execution.wait()).exit_code, 0)
        finally:
            await box.stop()
        out = [line for name, line, _ in seen if name == "out"]
        self.assertEqual(out, [f"Progress: {i}/5\n" for i in range(1, 6)] + ["Done!\n"])
        self.assertEqual([line for name, line, _ in seen if name == "err"], ["Warning: something looks off\n"])
        times = [at for name, _, at in seen if name == "out"]
        for earlier, later in zip(times[:5], times[1:6]):
            self.assertTrue(0.15 < later - earlier < 2, times)
        warned = next(at for name, _, at in seen if name == "err")
        self.assertTrue(times[1] < warned < times[3])

    async def test_t13_once(self):
        """T13: each stream is taken once, and does not replay"""
        async with SimpleBox() as simple:
            execution = await simple.box.exec("echo", ["x"])
            stream = execution.stdout()
            self.assertEqual([line async for line in stream], ["x\n"])
            self.assertEqual([line async for line in stream], [])
            for take in (execution.stdout, execution.stdout_bytes):
                with self.assertRaisesRegex(RuntimeError, "stdout stream not available"):
                    take()
            execution.stdin()
            with self.assertRaisesRegex(RuntimeError, "stdin stream not available"):
                execution.stdin()

    async def test_prompt(self):
        """a line without an end comes in time, and lines written in parts come whole"""
        async with SimpleBox() as simple:
            execution = await simple.box.exec("sh", ["-c", "printf name:; read x; printf he; printf 'llo\\n'; printf $x"])
            out = execution.stdout()
            self.assertEqual(await asyncio.wait_for(out.__anext__(), 10), "name:")
            stdin = execution.stdin()
            await stdin.send_input(b"you\n")
            await stdin.close()
            await stdin.close()
            self.assertEqual([line async for line in out], ["hello\n", "you"])
            with self.assertRaises(cubby.StateError):
                await stdin.send_input("more")

    async def test_give_up_reading(self):
        """giving up a read loses nothing"""
        async with SimpleBox() as simple:
            execution = await simple.box.exec("sh", ["-c", "for i in 1 2 3 4 5 6; do sleep 0.1; printf $i; done; echo"])
            stream, got = execution.stdout_bytes(), b""
            while True:
                try:
                    got += await asyncio.wait_for(stream.__anext__(), 0.03)
                except asyncio.TimeoutError:
                    continue
                except StopAsyncIteration:
                    break
            self.assertEqual(got, b"123456\n")

    async def test_slow_reader(self):
        """a reader who does not read holds up that command only"""
        async with SimpleBox() as simple:
            execution = await simple.box.exec("sh", ["-c", "head -c 9000000 /dev/zero; echo done >&2"])
            await asyncio.sleep(0.2)
            self.assertEqual((await simple.exec("echo", "x")).stdout, "x\n")
            size = 0
            async for piece in execution.stdout_bytes():
                size += len(piece)
            self.assertEqual(size, 9_000_000)
            self.assertEqual([line async for line in execution.stderr()], ["done\n"])

    async def test_others_run(self):
        """a stream that never runs dry leaves others their turn, and can be given up"""
        async with SimpleBox() as simple:
            turns = 0

            async def others():
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0.01)
            other = asyncio.ensure_future(others())
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(self.pour(simple), 1)
            other.cancel()
            self.assertGreater(turns, 10)

    @staticmethod
    async def pour(simple):
        """For ever."""
        execution = await simple.box.exec("cat", ["/dev/zero"])
        async for _ in execution.stdout_bytes():
            pass

    async def test_tty(self):
        """a terminal: its size, its change, stderr in stdout"""
        async with SimpleBox() as simple:
            execution = await simple.box.exec("sh", ["-c", "test -t 0 && echo tty >&2; read x; stty size"], tty=True)
            out = execution.stdout()
            self.assertEqual((await out.__anext__()).strip(), "tty")
            await execution.resize_tty(33, 77)
            await execution.stdin().send_input("\n")
            rest = "".join([line async for line in out])
            self.assertIn("33 77", rest)
            self.assertEqual([line async for line in execution.stderr()], [])
            self.assertEqual((await execution.wait()).exit_code, 0)


class Lost(Case):
    async def test_t16d_killed_vm(self):
        """T16d: the VM dies under a command: each who waits is told, and the box can be started again"""
        async with SimpleBox(auto_remove=False) as simple:
            execution = await simple.box.exec("sh", ["-c", "echo up; exec sleep 600"])
            stream = execution.stdout()
            await stream.__anext__()
            collected = asyncio.ensure_future(simple.exec("sleep", "600"))
            waited = asyncio.ensure_future(execution.wait())
            await asyncio.sleep(0.3)
            os.kill((await simple.info()).state.pid, signal.SIGKILL)
            begin = time.monotonic()
            results = await asyncio.gather(collected, waited)
            self.assertEqual([line async for line in stream], [])
            self.assertLess(time.monotonic() - begin, 5)
            for result in results:
                self.assertEqual((result.exit_code, result.signal, result.ok), (-1, None, False))
                self.assertRegex(result.error_message, "SIGKILL|lost")
            info = await simple.info()
            self.assertEqual((info.status, info.state.running, info.state.pid), ("failed", False, None))
            self.assertIn("lost", info.reason)
            with self.assertRaises(cubby.GuestLostError):
                await simple.exec("true")
            await simple.box.start()
            self.assertEqual((await simple.exec("echo", "again")).stdout, "again\n")
        await Boxlite.default().remove(simple.id)

    async def test_stopped_under_it(self):
        """the box is stopped under a command"""
        async with SimpleBox() as simple:
            running = asyncio.ensure_future(simple.exec("sleep", "600"))
            await asyncio.sleep(0.3)
            await simple.stop()
            result = await running
            # The guest ends its commands by signals, or is gone before it could tell.
            self.assertTrue(result.signal in (9, 15) or "stopped" in result.error_message, result)
            with self.assertRaises(cubby.StateError):
                await simple.exec("true")

    async def test_no_boot(self):
        """a VM that does not boot: the reason, and nothing is left"""
        for how, kind in (("panic", cubby.BootError), ("die", cubby.BootError), ("kvm", cubby.KvmError)):
            with variable("FAKE_VMM", how), self.assertRaises(kind):
                async with SimpleBox():
                    self.fail("it is ready")
            with variable("FAKE_VMM", how):
                box = await Boxlite.default().create()
                with self.assertRaises(kind):
                    await box.exec("true")
                await box.stop()
        self.assertEqual(await Boxlite.default().list_info(), [])

    async def test_never_ready(self):
        """a VM that says nothing: boot_timeout, and a wait of our own"""
        with variable("FAKE_VMM", "silent"):
            with self.assertRaises(cubby.BootError):
                async with SimpleBox(boot_timeout=0.5):
                    pass
            box = await Boxlite.default().create()
            with self.assertRaises(cubby.TimeoutError):
                await asyncio.wait_for(self.start_within(box, 0.2), 10)
            self.assertEqual((await box.info()).status, "starting")
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(box.start(), 0.2)
            await box.stop()

    @staticmethod
    async def start_within(box, seconds):
        """Starts it, and waits for it."""
        box._core.launch()
        await box.wait_until_ready(timeout=seconds)


class Loops(Case):
    def test_many_loops(self):
        """asyncio.run() again and again, a box that outlives its loop included"""
        async def make():
            return await Boxlite.default().create(name="lasting")

        async def use(i):
            box = await Boxlite.default().get("lasting")
            execution = await box.exec("echo", [str(i)])
            return [line async for line in execution.stdout()], execution
        asyncio.run(make())
        kept = []
        for i in range(5):
            lines, execution = asyncio.run(use(i))
            self.assertEqual(lines, [f"{i}\n"])
            kept.append(execution)

        async def end():
            self.assertEqual([(await x.wait()).exit_code for x in kept], [0] * 5)
            await (await Boxlite.default().get("lasting")).stop()
        asyncio.run(end())

    def test_many_threads(self):
        """several loops in several threads, in boxes of their own and in one together"""
        failures, shared = [], []

        async def make():
            shared.append(await Boxlite.default().create())

        async def work(i):
            async with SimpleBox() as box:
                for k in range(5):
                    outs = await asyncio.gather(*(box.exec("echo", f"{i} {k} {n}") for n in range(4)),
                                                shared[0].run("echo", f"{i}"))
                    self.assertEqual([o.stdout for o in outs],
                                     [f"{i} {k} {n}\n" for n in range(4)] + [f"{i}\n"])

        def thread(i):
            try:
                asyncio.run(work(i))
            except BaseException as e:
                failures.append(e)
        asyncio.run(make())
        threads = [threading.Thread(target=thread, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        asyncio.run(shared[0].stop())
        self.assertEqual(failures, [])

    def test_one_execution_of_two_loops(self):
        """two loops wait for one execution, each for its stream"""
        made = []

        async def make():
            box = await Boxlite.default().create()
            made.append(box)
            made.append(await box.exec("sh", ["-c", "for i in 1 2 3 4 5; do echo o; echo e >&2; sleep 0.05; done"]))
            made.append((made[1].stdout(), made[1].stderr()))
        asyncio.run(make())
        got = {}

        async def read(i):
            got[i] = [line async for line in made[2][i]], (await made[1].wait()).exit_code
        threads = [threading.Thread(target=lambda i=i: asyncio.run(asyncio.wait_for(read(i), 20))) for i in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        asyncio.run(made[0].stop())
        self.assertEqual(got, {0: (["o\n"] * 5, 0), 1: (["e\n"] * 5, 0)})

    async def test_no_thread(self):
        """commands need no thread, and leave no descriptor"""
        async with SimpleBox() as box:
            await box.exec("true")
            threads, fds = threading.active_count(), descriptors()
            running = [asyncio.ensure_future(box.exec("sh", "-c", "sleep 0.3; echo x")) for _ in range(20)]
            await asyncio.sleep(0.15)
            self.assertEqual(threading.active_count(), threads)
            self.assertEqual({(await r).stdout for r in running}, {"x\n"})
            del running
            gc.collect()
            self.assertEqual(descriptors(), fds)

    async def test_nothing_left(self):
        """boxes leave no process and no descriptor"""
        fds = None
        for _ in range(3):
            async with SimpleBox() as box:
                await box.exec("true")
            del box
            gc.collect()
            fds = fds or descriptors()
        self.assertEqual(descriptors(), fds)
        self.assertEqual(children(), [])
