# SPDX-License-Identifier: Apache-2.0
"""This host and its libcubby."""
from __future__ import annotations

from dataclasses import dataclass
from typing import List, Tuple

from . import _library as lib
from . import _native

__all__ = ["Check", "doctor", "library_version"]


@dataclass(frozen=True)
class Check:
    """A finding of doctor(): its stable name, whether it is good, whether boxes need it, what was found, what to try."""

    name: str
    ok: bool
    required: bool
    detail: str
    remedy: str


def library_version() -> str:
    """"0.1.0": that of libcubby. Raises LibraryError when there is none."""
    return lib.text(lib.library().cubby_version())


def doctor() -> Tuple[bool, List[Check]]:
    """(whether this host can run boxes, all findings). Blocks for about a second, at most some 30."""
    usable, findings = _native.doctor()
    return usable, [Check(*finding) for finding in findings]
