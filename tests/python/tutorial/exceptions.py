# SPDX-License-Identifier: Apache-2.0
"""A command that is not there, an image that is not there, and an exit code that is no exception."""
import asyncio

from cubby import BoxliteError, SimpleBox, TimeoutError


async def attempt(image, command):
    try:
        async with SimpleBox(image=image) as box:
            await box.exec(command)
            print("it ran")
    except RuntimeError as e:
        what = "spawn failed" if "spawn_failed" in str(e) and command in str(e) else str(e)
        print(f"{what}: {command}")
    except TimeoutError:
        print("it took too long")
    except BoxliteError as e:
        print(f"{str(e).split(':')[0]}: {image}")


async def main():
    await attempt("python:slim", "no_such_command")
    await attempt("python:no-such-tag", "true")
    async with SimpleBox(image="python:slim") as box:
        result = await box.exec("python", "-c", "import sys; sys.exit(42)")
        if result.exit_code != 0:
            print(f"ended with code {result.exit_code}")


if __name__ == "__main__":
    asyncio.run(main())
