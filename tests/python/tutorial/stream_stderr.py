# SPDX-License-Identifier: Apache-2.0
"""Both streams as they are written, with the whole seconds after which each line came."""
import asyncio
import time

from cubby import Boxlite, BoxOptions

PROGRAM = """
import sys
import time

for step in range(5):
    print(f"step {step + 1} of 5", flush=True)
    if step == 2:
        print("this looks odd", file=sys.stderr, flush=True)
    time.sleep(1)
print("done")
"""


async def main():
    runtime = Boxlite.default()
    box = await runtime.create(BoxOptions(image="python:slim"))
    try:
        execution = await box.exec("python", ["-c", PROGRAM])
        first = None

        async def show(name, stream):
            nonlocal first
            async for line in stream:
                first = first or time.monotonic()
                print(f"{round(time.monotonic() - first)} [{name}] {line}", end="")

        await asyncio.gather(show("stdout", execution.stdout()), show("stderr", execution.stderr()))
        result = await execution.wait()
        print(f"exit code {result.exit_code}")
        try:
            execution.stdout()
        except RuntimeError:
            print("a stream is there once")
    finally:
        await box.stop()


if __name__ == "__main__":
    asyncio.run(main())
