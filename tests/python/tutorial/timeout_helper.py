# SPDX-License-Identifier: Apache-2.0
"""The same as a function: the result, or None."""
import asyncio

from cubby import SimpleBox


async def within(box, seconds, cmd, *args):
    try:
        return await asyncio.wait_for(box.exec(cmd, *args), timeout=seconds)
    except asyncio.TimeoutError:
        return None


async def main():
    async with SimpleBox(image="python:slim") as box:
        result = await within(box, 10, "echo", "fast")
        if result:
            print(f"in time: {result.stdout.strip()}")
        result = await within(box, 2, "sleep", "3600")
        if result is None:
            print("not in time")


if __name__ == "__main__":
    asyncio.run(main())
