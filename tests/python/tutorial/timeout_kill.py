# SPDX-License-Identifier: Apache-2.0
"""A command that is ended when the wait for it is given up."""
import asyncio

from cubby import Boxlite, BoxOptions


async def sleepers(box):
    """How many processes of the box sleep, counted in it."""
    count = await box.exec("python", ["-c", """
import glob
print(sum(open(p, "rb").read().startswith(b"sleep") for p in glob.glob("/proc/[0-9]*/cmdline")))
"""])
    return [line async for line in count.stdout()][0].strip()


async def main():
    runtime = Boxlite.default()
    box = await runtime.create(BoxOptions(image="python:slim"))
    try:
        execution = await box.exec("sleep", ["3600"])
        try:
            result = await asyncio.wait_for(execution.wait(), timeout=5.0)
            print(f"it ended: {result.exit_code}")
        except asyncio.TimeoutError:
            print(f"sleepers: {await sleepers(box)}")
            await execution.kill()
            print(f"killed: {(await execution.wait()).exit_code}")
            print(f"sleepers: {await sleepers(box)}")
        print(f"status: {(await box.info()).status}")
    finally:
        await box.stop()
    print(f"status: {(await box.info()).status}")


if __name__ == "__main__":
    asyncio.run(main())
