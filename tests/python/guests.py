# SPDX-License-Identifier: Apache-2.0
"""guests.py STATEMENT: what tests/lab/python.sh asks of real guests."""
import asyncio
import os
import signal
import sys
import tempfile
import time

from cubby import Boxlite, SimpleBox, SyncSimpleBox

EAT = "print(len([bytearray(b'x') * (1 << 20) for _ in range(400)]))"


async def out_of_memory():
    """A process of its own: -9, and why; through a shell: 137; with more memory: none of it."""
    async with SimpleBox(image="python:slim", memory_mib=256) as box:
        result = await box.exec("python", "-c", EAT, timeout=60)
        assert (result.exit_code, result.oom_killed) == (-9, True), result
        assert "memory_mib" in result.error_message, result
        result = await box.exec("sh", "-c", f'python -c "{EAT}"; exit $?', timeout=60)
        assert result.exit_code == 137, result
        assert (await box.exec("echo", "x")).stdout == "x\n"
    async with SimpleBox(image="python:slim", memory_mib=768) as box:
        result = await box.exec("sh", "-c", f'python -c "{EAT}"; exit $?', timeout=60)
        assert (result.exit_code, result.stdout, result.error_message) == (0, "400\n", None), result


async def killed_vm():
    """The result says why, at once; so does the state; the box starts again."""
    async with SimpleBox(auto_remove=False) as box:
        running = asyncio.ensure_future(box.exec("sh", "-c", "echo up; exec sleep 600"))
        await asyncio.sleep(1)
        begin = time.monotonic()
        os.kill((await box.info()).state.pid, signal.SIGKILL)
        result = await running
        assert time.monotonic() - begin < 5
        assert (result.exit_code, result.stdout) == (-1, "up\n"), result
        assert "SIGKILL" in result.error_message, result
        assert (await box.info()).status == "failed"
        await box.box.start()
        assert (await box.exec("echo", "again")).stdout == "again\n"
    await Boxlite.default().remove(box.id)


async def given_up_is_gone():
    """The box has what was given up until it is stopped; the same box, started again, has not."""
    count = ("sh", "-c", "grep -l ^sleep /proc/[0-9]*/cmdline 2>/dev/null | wc -l")
    async with SimpleBox(auto_remove=False) as box:
        try:
            await asyncio.wait_for(box.exec("sleep", "3600"), 1)
            raise AssertionError("it ended")
        except asyncio.TimeoutError:
            pass
        assert (await box.exec(*count)).stdout.strip() == "1"
        await box.stop()
        await box.box.start()
        assert (await box.exec(*count)).stdout.strip() == "0"
    await Boxlite.default().remove(box.id)


async def copies():
    """Resolved in the box, with its mounts."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "data")
        data = os.urandom(3_000_000)
        with open(path, "wb") as f:
            f.write(data)
        async with SimpleBox(disk_size_gb=1) as box:
            for place in ("/tmp/x", "/dev/shm/x", "/root/x"):
                await box.exec("mkdir", "-p", os.path.dirname(place))
                await box.copy_in(path, place)
                assert (await box.exec("cat", place)).stdout_bytes == data, place
                await box.copy_out(place, path + "2")
                with open(path + "2", "rb") as f:
                    assert f.read() == data, place


async def ten_at_once():
    """Each with a command of its own."""
    async def one(i):
        async with SimpleBox(memory_mib=64) as box:
            return (await box.exec("echo", str(i))).stdout
    assert await asyncio.gather(*map(one, range(10))) == [f"{i}\n" for i in range(10)]


def synchronous():
    """The twins."""
    with SyncSimpleBox(image="python:slim") as box:
        assert box.exec("python", "-c", "print(2 + 2)").stdout == "4\n"
        execution = box.box.exec("python", ["-c", "print(input('name? '))"])
        lines = execution.stdout()
        assert next(lines) == "name? "
        execution.stdin().send_input("you\n")
        assert list(lines) == ["you\n"]
        assert execution.wait(timeout=60).exit_code == 0
        assert box.info().status == "running"


STATEMENTS = [out_of_memory, killed_vm, given_up_is_gone, copies, ten_at_once, synchronous]

if __name__ == "__main__":
    statement = {s.__name__: s for s in STATEMENTS}[sys.argv[1]]
    if asyncio.iscoroutinefunction(statement):
        asyncio.run(statement())
    else:
        statement()
