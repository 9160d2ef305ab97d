#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Layers as large as a bomb really is, merged with the default limits: what they cost, or how they are refused.

A gzip layer is a row of members that are compressed once and repeated, so that gigabytes are made in no time. Prints
TAP.
"""
import gzip
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import traceback

MERGE = os.environ.get("MERGE_LAYERS", "build/merge-layers")
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MIB, GIB = 1 << 20, 1 << 30
MEMORY_KIB = 64 << 10
END = gzip.compress(bytes(1024), 1)


def header(name, size=0, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def merge(folder, *pieces):
    """Merges one layer of gzip members: (exit code, what it said, image)."""
    layer, image = os.path.join(folder, "layer"), os.path.join(folder, "image")
    with open(layer, "wb") as f:
        f.writelines(pieces)
    p = subprocess.run([MERGE, image, LAYER, "-", layer], capture_output=True, text=True, check=False)
    said = p.stdout + p.stderr
    peak = int(said.split("peak ")[1].split()[0])
    assert peak < MEMORY_KIB, f"{peak} KiB of memory: {said}"
    return p.returncode, said, image


def refused(folder, pieces, *words):
    code, said, image = merge(folder, *pieces)
    assert code == 1, f"code {code}: {said}"
    for word in ("layer 0: ", *words):
        assert word in said, f"no '{word}' in: {said}"
    assert not os.path.exists(image), "an image is left"


def merged(folder, pieces):
    code, said, image = merge(folder, *pieces)
    assert code == 0, f"code {code}: {said}"
    subprocess.run(["e2fsck", "-fn", image], check=True, capture_output=True)
    return image


def ten_gib_of_zeros_in_ten_mib_are_a_hole(folder):
    part = gzip.compress(bytes(256 * MIB), 9)
    layer = [gzip.compress(header("zeros", 10 * GIB)), *[part] * 40, END]
    assert sum(map(len, layer)) < 11 * MIB
    image = merged(folder, layer)
    used = os.stat(image).st_blocks * 512
    assert used < 4 * MIB, f"the image takes {used} bytes"
    said = subprocess.run(["debugfs", "-R", "stat /zeros", image], check=True, capture_output=True, text=True).stdout
    assert f"Size: {10 * GIB}" in said, said


def ten_million_entries_are_refused(folder):
    part = gzip.compress(b"".join(header(f"f{i}") for i in range(20000)), 1)
    refused(folder, [*[part] * 500, END], "4000000 entries", "(entries)")


def a_pax_header_of_a_hundred_mib_is_refused(folder):
    record = gzip.compress(header("pax", 100 * MIB, tarfile.XHDTYPE) + b"104857600 comment=", 1)
    part = gzip.compress(b"x" * (4 * MIB), 1)
    refused(folder, [record, *[part] * 25, gzip.compress(header("f")), END], "too large")


def an_image_of_two_gib_takes_little_memory(folder):
    content = os.urandom(64 << 10) * 16
    part = gzip.compress(content, 1)
    layer = []
    for i in range(2048):
        layer += [gzip.compress(header(f"file{i}", len(content)), 1), part]
    image = merged(folder, [*layer, END])
    assert os.stat(image).st_blocks * 512 > 2 * GIB


TESTS = [ten_gib_of_zeros_in_ten_mib_are_a_hole, ten_million_entries_are_refused,
         a_pax_header_of_a_hundred_mib_is_refused, an_image_of_two_gib_takes_little_memory]


def main():
    failed = 0
    print(f"1..{len(TESTS)}", flush=True)
    for number, test in enumerate(TESTS, 1):
        name, folder = test.__name__.replace("_", " "), tempfile.mkdtemp(prefix="cubby-bomb-")
        try:
            test(folder)
            print(f"ok {number} - {name}", flush=True)
        except Exception:  # whatever it is, the next test shall run
            failed = 1
            print("".join("# " + line + "\n" for line in traceback.format_exc().splitlines()), end="")
            print(f"not ok {number} - {name}", flush=True)
        finally:
            shutil.rmtree(folder)
    return failed


if __name__ == "__main__":
    sys.exit(main())
