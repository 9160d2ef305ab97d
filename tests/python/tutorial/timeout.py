# SPDX-License-Identifier: Apache-2.0
"""A wait with an end, after which the box is as good as before."""
import asyncio
import time

from cubby import SimpleBox


async def main():
    async with SimpleBox(image="python:slim") as box:
        begin = time.monotonic()
        try:
            result = await asyncio.wait_for(box.exec("sleep", "3600"), timeout=5.0)
            print(f"it ended: {result.exit_code}")
        except asyncio.TimeoutError:
            took = time.monotonic() - begin
            print("given up after 5 s" if 5 <= took < 8 else f"given up after {took} s")
        result = await box.exec("echo", "still alive")
        print(f"then: {result.stdout.strip()}")


if __name__ == "__main__":
    asyncio.run(main())
