#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the wheel: the build backend of pyproject.toml (PEP 517), and a program.

    backend.py FOLDER       writes cubby-VERSION-py3-none-linux_x86_64.whl there, and prints its name

A wheel is a zip (PEP 427) of the package, of the files that libcubby needs beside it, and of what is said about them. The
files are those of ``CUBBY_BUILD``, else of build/ in this source tree. The same files give the same bytes.
"""
import base64
import hashlib
import os
import platform
import re
import sys
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
BUILT = {"libcubby.so.1": 0o755, "cubby-vmm": 0o755, "vmlinux": 0o644, "initrd.cpio": 0o644, "default.ext4": 0o644}
EPOCH = (1980, 1, 1, 0, 0, 0)


def read(*path):
    """The bytes of a file."""
    with open(os.path.join(*path), "rb") as f:
        return f.read()


def project(key):
    """A value of pyproject.toml that is a string on a line of its own; tomllib is not in Python 3.9."""
    return re.search(rf'^{key} = "(.*)"$', read(HERE, "pyproject.toml").decode(), re.MULTILINE).group(1)


def metadata():
    """METADATA, as PEP 566 has it."""
    classifiers = re.findall(r'^    "(.* :: .*)",$', read(HERE, "pyproject.toml").decode(), re.MULTILINE)
    lines = ["Metadata-Version: 2.1", "Name: cubby", f"Version: {project('version')}",
             f"Summary: {project('description')}", "License: Apache-2.0", f"Requires-Python: {project('requires-python')}",
             *(f"Classifier: {c}" for c in classifiers), "Description-Content-Type: text/markdown", ""]
    return "\n".join(lines).encode() + b"\n" + read(HERE, "README.md")


def contents(tag):
    """(name, mode, bytes) of each file but RECORD."""
    built = os.environ.get("CUBBY_BUILD") or os.path.join(HERE, "..", "..", "build")
    package = os.path.join(HERE, "cubby")
    for name in sorted(os.listdir(package)):
        if name.endswith((".py", ".typed")):
            yield "cubby/" + name, 0o644, read(package, name)
    for name, mode in BUILT.items():
        yield "cubby/_native/" + name, mode, read(built, name)
    info = f"cubby-{project('version')}.dist-info/"
    yield info + "LICENSE", 0o644, read(HERE, "..", "..", "LICENSE")
    yield info + "METADATA", 0o644, metadata()
    yield info + "WHEEL", 0o644, f"Wheel-Version: 1.0\nGenerator: cubby\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Writes the wheel, and returns its name. Both last parameters are the frontend's, and not used."""
    del config_settings, metadata_directory
    tag = f"py3-none-linux_{platform.machine()}"
    name = f"cubby-{project('version')}-{tag}.whl"
    path = os.path.join(wheel_directory, name)
    records = []
    with zipfile.ZipFile(path + ".new", "w", zipfile.ZIP_DEFLATED) as archive:
        def add(inside, mode, data):
            entry = zipfile.ZipInfo(inside, EPOCH)
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
        for inside, mode, data in contents(tag):
            add(inside, mode, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            records.append(f"{inside},sha256={digest},{len(data)}")
        inside = f"cubby-{project('version')}.dist-info/RECORD"
        add(inside, 0o644, "\n".join([*records, inside + ",,", ""]).encode())
    os.replace(path + ".new", path)
    return name


if __name__ == "__main__":
    if len(sys.argv) != 2 or not os.path.isdir(sys.argv[1]):
        sys.exit("usage: backend.py FOLDER")
    print(os.path.join(sys.argv[1], build_wheel(sys.argv[1])))
