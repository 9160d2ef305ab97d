# SPDX-License-Identifier: Apache-2.0
"""A command that succeeds, one that fails, and the habit of looking before using."""
import asyncio

import cubby as boxlite


async def main():
    async with boxlite.SimpleBox(image="python:slim") as box:
        result = await box.exec("echo", "hello")
        print(f"exit code {result.exit_code}, stdout: {result.stdout}", end="")

        result = await box.exec("python", "-c", "import no_such_module_here")
        print(f"exit code {result.exit_code}, stderr ends: {result.stderr.splitlines()[-1]}")

        result = await box.exec("python", "-c", "print(2 + 2)")
        if result.exit_code == 0:
            print(f"sum: {result.stdout.strip()}")
        else:
            print(f"it failed: {result.stderr}")


if __name__ == "__main__":
    asyncio.run(main())
