#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""abi.py [HEADER [LIBRARY.so]]: what programs that were built with libcubby rely upon, a line each.

The symbols of the library with their versions; the header's functions, structs (sizes, and offsets and types of their
members), enumerators and numbers, as the compiler sees them, on x86-64. tests/library/abi.txt is the list that holds;
after a change that only adds to it:

    tests/library/abi.py >tests/library/abi.txt

A line that changes or goes breaks programs that exist, but for the size of a struct that starts with its size and got
members at its end: that takes a new name or a new version, libcubby.so.2.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def output(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


def symbols(library):
    lines = (line.split() for line in output("nm", "-D", "--defined-only", library).splitlines())
    return sorted(f"symbol {words[-1]}" for words in lines if words[1] != "A")


def functions(header, folder):
    """As gcc sees them, so without names of parameters."""
    output("gcc", "-fsyntax-only", "-aux-info", f"{folder}/aux", "-x", "c", header)
    text = pathlib.Path(folder, "aux").read_text(encoding="utf-8")
    found = re.findall(rf"^/\* {re.escape(header)}:\S+ \*/ extern (.*);$", text, re.MULTILINE)
    return sorted("function " + f.replace(" (", "(", 1) for f in found)


def numbers(header):
    defines = re.findall(r"^#define (CUBBY_\w+) (.+)$", output("gcc", "-dM", "-E", "-x", "c", header), re.MULTILINE)
    return sorted(f"number {name} {value}" for name, value in defines if name not in ("CUBBY_H", "CUBBY_API"))


class Debug:
    """The types of an object, from its debugging information (DWARF 4) as readelf prints it."""
    ENTRY = re.compile(r"^ <(\d+)><([0-9a-f]+)>: Abbrev Number: \d+ \(DW_TAG_(\w+)\)$")
    ATTRIBUTE = re.compile(r"^ +<[0-9a-f]+> +DW_AT_(\w+) *: (?:\(indirect string, offset: \S+\): )?(.*?)\s*$")

    def __init__(self, text):
        self.all = {}
        parents = []
        entry = None
        for line in text.splitlines():
            if m := self.ENTRY.match(line):
                entry = {"tag": m[3], "children": []}
                self.all[m[2]] = entry
                parents[int(m[1]):] = [entry]
                if int(m[1]) > 0:
                    parents[int(m[1]) - 1]["children"].append(entry)
            elif entry and (m := self.ATTRIBUTE.match(line)):
                entry[m[1]] = m[2]

    def type(self, entry):
        reference = entry.get("type")
        if reference is None:
            return "void"
        t = self.all[reference.strip("<>").removeprefix("0x")]
        tag = t["tag"].removesuffix("_type")
        if tag == "pointer":
            return f"{self.type(t)} *"
        if tag == "const":
            return f"{self.type(t)} const"
        if tag == "array":
            return self.type(t) + "".join(f"[{int(c['upper_bound']) + 1}]" for c in t["children"])
        if tag == "subroutine":
            return f"{self.type(t)} ({', '.join(self.type(c) for c in t['children'])})"
        words = {"structure": "struct ", "enumeration": "enum "}
        return words.get(tag, "") + t["name"]

    def lines(self):
        for t in self.all.values():
            if not t.get("name", "").startswith("cubby_"):
                continue
            if t["tag"] == "structure_type" and "byte_size" in t:
                yield f"struct {t['name']}: {t['byte_size']} bytes"
                for m in t["children"]:
                    yield f"struct {t['name']}: at {m['data_member_location']}: {self.type(m)} {m['name']}"
            if t["tag"] == "enumeration_type":
                for m in t["children"]:
                    yield f"enum {t['name']}: {m['name']} {m['const_value']}"


def types(header, folder):
    output("gcc", "-g", "-gdwarf-4", "-fno-eliminate-unused-debug-types", "-c", "-o", f"{folder}/types.o", "-x", "c", header)
    return list(Debug(output("readelf", "--debug-dump=info", f"{folder}/types.o")).lines())


def main():
    header = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "include/cubby.h")
    library = sys.argv[2] if len(sys.argv) > 2 else str(ROOT / "build/libcubby.so.1")
    with tempfile.TemporaryDirectory() as folder:
        parts = symbols(library), functions(header, folder), types(header, folder), numbers(header)
    for part in parts:
        if not part:
            sys.exit("abi.py: nothing was found of one kind: the tools' output is not understood")
        print("\n".join(part))


if __name__ == "__main__":
    main()
