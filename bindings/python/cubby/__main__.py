# SPDX-License-Identifier: Apache-2.0
"""python -m cubby version | doctor: what is installed, and whether this host can run boxes (exit code 1: it cannot)."""
from __future__ import annotations

import argparse
import sys
from typing import List, Optional

from . import BoxliteError, __version__, _library, doctor, library_version


def _show_version() -> int:
    print(f"cubby {__version__} for Python, with libcubby {library_version()} ({_library.path_of_library()})")
    return 0


def _show_doctor() -> int:
    usable, checks = doctor()
    for check in checks:
        mark = "ok  " if check.ok else "FAIL" if check.required else "hint"
        print(f"{mark} {check.name}: {check.detail}")
        if not check.ok and check.remedy:
            print(f"     try: {check.remedy}")
    print("this host can run boxes" if usable else "this host cannot run boxes")
    return 0 if usable else 1


def main(argv: Optional[List[str]] = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m cubby", description="cubby for Python")
    parser.add_argument("command", choices=["version", "doctor"])
    command = parser.parse_args(argv).command
    try:
        return _show_version() if command == "version" else _show_doctor()
    except BoxliteError as e:
        print(f"cubby: {e}", file=sys.stderr)
        return 125


if __name__ == "__main__":
    sys.exit(main())
