# SPDX-License-Identifier: Apache-2.0
"""What needs no box: layouts, exceptions, options, lines."""
import os
import pickle
import re
import subprocess
import sys

import cubby
from cubby import _library, _output, errors
from support import Case

ABI = os.path.join(os.path.dirname(__file__), "..", "library", "abi.txt")


class Layout(Case):
    def test_structs(self):
        """each structure is as the compiler lays out cubby.h, which may have more at its end"""
        with open(ABI, encoding="utf-8") as f:
            text = f.read()
        for name, made in _library.STRUCTS.items():
            members = re.findall(rf"^struct {name}: at (\d+): .* (\w+)$", text, re.MULTILINE)
            there = [(str(getattr(made, field[0]).offset), field[0]) for field in made._fields_]
            self.assertEqual(there, members[:len(there)], name)

    def test_codes(self):
        """each of libcubby's codes has an exception of its own family"""
        self.assertEqual(set(errors._CLASSES) | {errors.EAGAIN}, set(range(-25, 0)))
        for code, kind in errors._CLASSES.items():
            self.assertTrue(issubclass(kind, cubby.BoxliteError))
            self.assertNotIn(_library.code_name(code), ("", "unknown"))


class Errors(Case):
    def test_t5_hierarchy(self):
        """T5: ExecError, TimeoutError and ParseError are BoxliteErrors"""
        for kind in (cubby.ExecError, cubby.TimeoutError, cubby.ParseError):
            self.assertTrue(issubclass(kind, cubby.BoxliteError))
        self.assertIs(cubby.CubbyError, cubby.BoxliteError)
        self.assertFalse(issubclass(cubby.TimeoutError, cubby.ExecError))

    def test_handlers(self):
        """a spawn failure is a RuntimeError, an image's is none"""
        spawn = errors.from_code(-9, "no 'x'")
        self.assertIsInstance(spawn, RuntimeError)
        self.assertIsInstance(spawn, cubby.ExecError)
        self.assertIn("spawn_failed", str(spawn))
        for code in (-3, -4):
            image = errors.from_code(code, "no such tag")
            self.assertNotIsInstance(image, RuntimeError)
            self.assertTrue(str(image).startswith("image error"), str(image))

    def test_pickle(self):
        """exceptions go through pickle"""
        error = errors.from_code(-12, "it was stopped", "stopped")
        back = pickle.loads(pickle.dumps(error))
        self.assertEqual((type(back), str(back), back.code, back.code_name),
                         (cubby.StoppedError, "it was stopped", -12, "stopped"))

    def test_unknown_code(self):
        """a code of a later library is a BoxliteError"""
        self.assertIs(type(errors.from_code(-99, "?")), cubby.BoxliteError)

    def test_no_library(self):
        """without libcubby.so.1 the error says what to do"""
        done = subprocess.run([sys.executable, "-m", "cubby", "version"], capture_output=True, text=True, check=False,
                              env=dict(os.environ, CUBBY_LIBRARY="/nonexistent/libcubby.so.1"))
        self.assertEqual(done.returncode, 125)
        self.assertRegex(done.stderr, r"^cubby: cannot load /nonexistent/libcubby.so.1: .*CUBBY_LIBRARY")
        self.assertEqual(done.stderr.count("\n"), 1)

    def test_import_without_library(self):
        """T17: the package is imported and typed without it"""
        code = "import cubby as boxlite; print(boxlite.SimpleBox.__name__)"
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True,
                              env=dict(os.environ, CUBBY_LIBRARY="/nonexistent"))
        self.assertEqual(done.stdout, "SimpleBox\n")


class Options(Case):
    def refused(self, kind, **options):
        """BoxOptions of these raise `kind`, and the text names the first of them."""
        with self.assertRaises(kind) as caught:
            cubby.BoxOptions(**options).check()
        return str(caught.exception)

    def test_unsupported(self):
        """what cubby cannot do is refused by name"""
        for name, value in (("volumes", [("/a", "/b")]), ("ports", [(80, 80)]), ("network", "enabled"),
                            ("secrets", ["x"]), ("advanced", object()), ("detach", True), ("tty", True),
                            ("cmd", ["sh"]), ("entrypoint", ["sh"])):
            text = self.refused(cubby.UnsupportedError, **{name: value})
            if name not in ("cmd", "entrypoint"):
                self.assertIn(name, text)
        cubby.BoxOptions(volumes=[], ports=None, network="disabled").check()
        with self.assertRaises(TypeError):
            cubby.BoxOptions(memory=1)

    def test_ranges(self):
        """numbers have ranges, and types"""
        for bad in ({"cpus": 0}, {"cpus": 65}, {"cpus": 2**32 + 1}, {"memory_mib": 31}, {"disk_size_gb": 0},
                    {"boot_timeout": -1}, {"boot_timeout": float("nan")}, {"image": "a", "rootfs_path": "/b"},
                    {"image": "a\0b"}, {"env": {"": "x"}}, {"env": ["X"]}):
            self.refused(cubby.ArgumentError, **bad)
            self.refused(ValueError, **bad)
        for bad in ({"cpus": "2"}, {"cpus": True}, {"image": 3}, {"env": "A=B"}, {"memory_mib": 1.5}):
            self.refused(TypeError, **bad)

    def test_registries(self):
        """what a registry cannot be is refused"""
        for bad in ({"skip_verify": True}, {"search": True}, {"auth": "x"}):
            with self.assertRaises(cubby.UnsupportedError):
                cubby.ImageRegistry("x", **bad)
        with self.assertRaises(cubby.ArgumentError):
            cubby.ImageRegistry("x", transport="ftp")
        with self.assertRaises(cubby.ArgumentError):
            cubby.Options(home_dir="relative")


class Lines(Case):
    @staticmethod
    def lines(*pieces):
        """What Lines makes of them."""
        made, lines = [], _output.Lines()
        for piece in pieces:
            lines.feed(piece)
            line = lines.next()
            while line:
                made.append(line)
                line = lines.next()
        return made, lines

    def test_torn(self):
        """lines and characters that come in pieces are put together"""
        text = "größe\nzwei\n\nmehr €"
        data = text.encode()
        for cut in range(len(data)):
            for second in (cut, min(cut + 1, len(data))):
                made, _ = self.lines(data[:cut] or b"", *filter(None, (data[cut:second], data[second:])), b"") \
                    if cut else self.lines(data, b"")
                self.assertEqual(made, ["größe\n", "zwei\n", "\n", "mehr €"], cut)

    def test_not_utf8(self):
        """what is no UTF-8 is replaced, and nothing else is"""
        self.assertEqual(self.lines(b"a\xffb\n\xe2\x82", b"")[0], ["a\ufffdb\n", "\ufffd"])

    def test_endless_line(self):
        """a line without an end comes in parts"""
        made, lines = self.lines(b"x" * 100000)
        self.assertEqual(made, ["x" * 100000])
        self.assertFalse(lines.started)
