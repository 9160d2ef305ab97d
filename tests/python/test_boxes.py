# SPDX-License-Identifier: Apache-2.0
"""Boxes and runtimes: their life, names, files, images."""
import asyncio
import os
import subprocess
import sys
import tempfile
import textwrap
import time

import cubby
from cubby import Boxlite, BoxOptions, CopyOptions, ImageRegistry, Options, SimpleBox
from support import Case, gone, variable

NOBODY = "127.0.0.1:9/no/image:v1"  # the port that discards, where nobody listens


class Life(Case):
    async def test_t15_status(self):
        """T15: info.status is "running", then "stopped", and so is info.state.status"""
        box = await Boxlite.default().create(BoxOptions(memory_mib=256, cpus=2, name="mine"))
        info = await box.info()
        self.assertEqual((info.status, info.state.status, info.state.running), ("configured",) * 2 + (False,))
        await box.start()
        info = await box.info()
        self.assertEqual((info.status, info.state.status, info.state.running), ("running", "running", True))
        self.assertEqual((info.id, info.name, info.cpus, info.memory_mib, info.image), (box.id, "mine", 2, 256, ""))
        self.assertRegex(info.created_at, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertGreaterEqual(info.started_at, info.created_at)
        os.kill(info.state.pid, 0)
        await box.stop()
        stopped = await box.info()
        self.assertEqual((stopped.status, stopped.state.status, stopped.state.pid), ("stopped", "stopped", None))
        self.assertTrue(gone(info.state.pid))
        await box.stop()

    async def test_removed(self):
        """a box that was removed when it stopped says so to whoever wants to use it"""
        box = await Boxlite.default().create()
        await box.start()
        await box.stop()
        for use in (box.start(), box.exec("true"), box.run("true"), box.copy_in("/etc/passwd", "/tmp/x")):
            with self.assertRaisesRegex(cubby.StateError, "auto_remove"):
                await use
        self.assertIsNone(await Boxlite.default().get(box.id))

    async def test_again(self):
        """a box that is kept is started again, by start() and by a command"""
        box = await Boxlite.default().create(BoxOptions(auto_remove=False))
        for _ in range(2):
            await box.start()
            await box.start()
            await box.stop()
        self.assertEqual((await box.info()).status, "stopped")
        self.assertEqual((await box.run("echo", "x")).stdout, "x\n")
        with self.assertRaises(cubby.StateError):
            await Boxlite.default().remove(box.id)
        await Boxlite.default().remove(box.id, force=True)
        self.assertEqual((await box.info()).status, "stopped")
        with self.assertRaises(cubby.NotFoundError):
            await Boxlite.default().remove(box.id)

    async def test_removed_while_starting(self):
        """a box that is removed while others wait for its start"""
        with variable("FAKE_VMM", "silent"):
            runtime = Boxlite()
            box = await runtime.create(name="x")
            waits = [asyncio.ensure_future(w) for w in (box.start(), box.start(), box.run("true"), box.exec("true"))]
            await asyncio.sleep(0.3)
            pid = (await box.info()).state.pid
            await runtime.remove("x", force=True)
            done = await asyncio.wait_for(asyncio.gather(*waits, return_exceptions=True), 10)
        self.assertEqual({type(e) for e in done}, {cubby.StateError})
        self.assertTrue(gone(pid))

    async def test_t19_sequence(self):
        """T19: a box after one that failed, again and again"""
        for _ in range(3):
            with self.assertRaises(RuntimeError):
                async with SimpleBox() as box:
                    await box.exec("nonexistent_command")
            async with SimpleBox() as box:
                self.assertEqual((await box.exec("echo", "x")).stdout, "x\n")
        self.assertEqual(await Boxlite.default().list_info(), [])

    async def test_parallel(self):
        """twenty boxes at once"""
        async def one(i):
            async with SimpleBox() as box:
                return (await box.exec("echo", str(i))).stdout
        self.assertEqual(await asyncio.gather(*map(one, range(20))), [f"{i}\n" for i in range(20)])

    async def test_names(self):
        """names are unique, are found, and are free again"""
        runtime = Boxlite()
        box = await runtime.create(BoxOptions(name="a.b-1"))
        with self.assertRaises(cubby.ExistsError):
            await runtime.create(name="a.b-1")
        same, created = await runtime.get_or_create(BoxOptions(name="a.b-1"))
        self.assertEqual((same.id, created), (box.id, False))
        for key in ("a.b-1", box.id, box.id[:6]):
            self.assertEqual((await runtime.get(key)).id, box.id)
        self.assertEqual((await runtime.get_info("a.b-1")).id, box.id)
        for key in ("a.b", box.id[:3], "", "none"):
            self.assertIsNone(await runtime.get(key))
        self.assertIsNone(await Boxlite.default().get("a.b-1"))
        for bad in ("", "x" * 300, "../x", "a/b", "a\n", "-a", "ä"):
            with self.assertRaises(cubby.ArgumentError):
                await runtime.create(name=bad)
        await box.stop()
        other, created = await runtime.get_or_create(name="a.b-1")
        self.assertTrue(created and other.id != box.id)
        await runtime.shutdown()
        await runtime.close()
        with self.assertRaises(cubby.StateError):
            await runtime.create()

    async def test_two_creates_of_one_name(self):
        """of two creates of one name at once one is refused"""
        runtime = Boxlite()
        made = await asyncio.gather(*(runtime.create(name="one") for _ in range(5)), return_exceptions=True)
        self.assertEqual(sum(isinstance(m, cubby.ExistsError) for m in made), 4)
        await runtime.close()

    async def test_shutdown(self):
        """a runtime that is closed ends what runs in its boxes"""
        async with Boxlite() as runtime:
            boxes = [await runtime.create() for _ in range(3)]
            for box in boxes:
                await box.start()
            pids = [(await box.info()).state.pid for box in boxes]
            self.assertEqual([i.id for i in await runtime.list_info()], [b.id for b in boxes])
        for pid in pids:
            self.assertTrue(gone(pid))

    async def test_simplebox_states(self):
        """a SimpleBox before its start, started twice, stopped twice"""
        box = SimpleBox(name="s")
        with self.assertRaises(RuntimeError):
            await box.exec("true")
        self.assertIsNone(box.created)
        await (await box.start()).start()
        self.assertTrue(box.created)
        async with SimpleBox(name="s", reuse_existing=True, auto_remove=False) as other:
            self.assertEqual((other.id, other.created), (box.id, False))
        await box.shutdown()
        await box.stop()

    def test_exit(self):
        """a program that ends with boxes open leaves nothing, and hangs nowhere"""
        code = textwrap.dedent("""
            import asyncio, cubby, os
            async def main():
                box = await cubby.Boxlite.default().create()
                await box.exec("sleep", ["600"])
                print((await box.info()).state.pid)
            asyncio.run(main())
            """)
        begin = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
        self.assertLess(time.monotonic() - begin, 20)
        self.assertEqual(done.stderr, "")
        self.assertTrue(gone(int(done.stdout)))

    async def test_fork(self):
        """a child of fork() leaves the boxes of its parent alone"""
        async with SimpleBox() as box:
            execution = await box.box.exec("cat")
            pid = os.fork()
            if pid == 0:
                del execution, box
                os._exit(0 if cubby.library_version() else 1)
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
            await execution.stdin().close()
            self.assertEqual((await execution.wait()).exit_code, 0)
            self.assertEqual((await box.exec("echo", "x")).stdout, "x\n")


class Creating(Case):
    async def test_t7_image(self):
        """T7: an image that cannot be fetched is caught as a BoxliteError, not as a RuntimeError, with its text"""
        try:
            async with SimpleBox(image=NOBODY):
                self.fail("it is there")
        except RuntimeError as e:
            self.fail(f"caught as {e!r}")
        except cubby.TimeoutError:
            self.fail("caught as a TimeoutError")
        except cubby.BoxliteError as e:
            self.assertTrue(str(e).startswith("image error: "), str(e))
        with self.assertRaises(cubby.ArgumentError):
            await Boxlite.default().create(BoxOptions(image="Not A Reference"))

    async def test_cancelled(self):
        """a pull that is given up ends at once, and there is no box"""
        async def mute(reader, writer):
            await reader.read()
            writer.close()
        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        runtime = Boxlite(Options(image_registries=[ImageRegistry(f"127.0.0.1:{port}", transport="http")]))
        begin = time.monotonic()
        for call in (runtime.create(BoxOptions(image=f"127.0.0.1:{port}/a:b", name="n")),
                     runtime.images.pull(f"127.0.0.1:{port}/a:b")):
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(call, 0.5)
        self.assertLess(time.monotonic() - begin, 5)
        self.assertEqual(await runtime.list_info(), [])
        box = await runtime.create(name="n")
        await box.stop()
        server.close()
        await runtime.close()

    async def test_rootfs(self):
        """an OCI layout and a missing file as root file systems"""
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "oci-layout"), "w", encoding="ascii"):
                pass
            with self.assertRaises(cubby.UnsupportedError):
                await Boxlite.default().create(BoxOptions(rootfs_path=folder))
        with self.assertRaises(cubby.ImageNotFoundError):
            await Boxlite.default().create(BoxOptions(rootfs_path="/nonexistent.ext4"))

    async def test_images(self):
        """images are loaded, listed, looked at and forgotten"""
        with tempfile.TemporaryDirectory() as folder:
            root = os.path.join(folder, "root")
            os.makedirs(os.path.join(root, "etc"))
            with open(os.path.join(root, "etc", "motd"), "w", encoding="ascii") as f:
                f.write("hello\n")
            tar = os.path.join(folder, "root.tar")
            subprocess.run(["tar", "-cf", tar, "-C", root, "."], check=True)
            runtime = Boxlite(Options(home_dir=os.path.join(folder, "home")))
            loaded = await runtime.images.load(tar, name="own/root:v1")
            self.assertEqual([i.name for i in loaded], ["own/root:v1"])
            listed = await runtime.images.list()
            self.assertEqual([(i.name, i.id) for i in listed], [("own/root:v1", loaded[0].id)])
            one = await runtime.images.get("own/root:v1")
            self.assertEqual((one.reference, len(one.layers)), ("docker.io/own/root:v1", 1))
            steps = []
            pulled = await runtime.images.pull("own/root:v1", policy="missing", progress=steps.append)
            self.assertEqual(pulled.id, one.id)
            with self.assertRaises(cubby.ArgumentError):
                await runtime.images.pull("own/root:v1", policy="sometimes")
            await runtime.images.remove("own/root:v1")
            with self.assertRaises(cubby.ImageNotFoundError):
                await runtime.images.get("own/root:v1")
            self.assertEqual(await runtime.images.list(), [])
            await runtime.close()


class Copies(Case):
    async def test_copies(self):
        """files and folders go in and come out"""
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "in")
            os.makedirs(os.path.join(source, "sub"))
            with open(os.path.join(source, "sub", "file"), "wb") as f:
                f.write(b"x" * 100000)
            target = os.path.join(folder, "target")
            os.mkdir(target)
            async with SimpleBox() as box:
                report = await box.copy_in(source, target)
                self.assertEqual((report.entries, report.bytes), (3, 100000))
                self.assertTrue(os.path.exists(os.path.join(target, "in", "sub", "file")))
                await box.copy_in(source, target, include_parent=False)
                self.assertTrue(os.path.exists(os.path.join(target, "sub", "file")))
                await box.copy_out(os.path.join(target, "sub", "file"), os.path.join(folder, "out"))
                self.assertEqual(os.path.getsize(os.path.join(folder, "out")), 100000)
                with self.assertRaises(cubby.ExistsError):
                    await box.copy_out(os.path.join(target, "sub", "file"), os.path.join(folder, "out"), overwrite=False)
                with self.assertRaises(cubby.NotFoundError):
                    await box.copy_in(os.path.join(folder, "none"), target)
                with self.assertRaises(cubby.FileError):
                    await box.copy_in(source, os.path.join(target, "sub", "file"))
                with self.assertRaises(cubby.ArgumentError):
                    await box.box.copy_in(source, target, CopyOptions(recursive=False))
                with self.assertRaises(cubby.ArgumentError):
                    await box.copy_in(source, "relative")

    async def test_cancelled(self):
        """a copy that is given up harms nothing"""
        with tempfile.TemporaryDirectory() as folder:
            fifo = os.path.join(folder, "big")
            with open(fifo, "wb") as f:
                f.truncate(1 << 20)
                for _ in range(200):
                    f.write(os.urandom(1 << 20))
            async with SimpleBox() as box:
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(box.copy_in(fifo, os.path.join(folder, "copy")), 0.05)
                self.assertFalse(os.path.exists(os.path.join(folder, "copy")))
                self.assertEqual((await box.exec("echo", "x")).stdout, "x\n")
