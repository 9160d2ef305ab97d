# SPDX-License-Identifier: Apache-2.0
"""Pulls by tests/oci/pull_driver.c, what came of them, and a registry to pull from. Prints TAP.

A test's script is started as: python3 SCRIPT PULL_DRIVER TEMPORARY_FOLDER
"""
import base64
import json
import os
import random
import subprocess
import sys
import time
import traceback

from servers import Image, Registry, make_layer

DRIVER, TEMP = sys.argv[1:3]
NO_HOST, REFUSED, TLS, STALLED, UNAUTHORIZED, NOT_FOUND = -5002, -5003, -5004, -5005, -5006, -5007
REGISTRY, PLATFORM, DIGEST, FORMAT, UNSUPPORTED, LIMIT = -5008, -5009, -5010, -5011, -5012, -5013
CANCELED, NOSPACE = -125, -28
FAST = {"backoff_ms": 20, "stall_timeout_ms": 8000, "attempts": 3}
IMPATIENT = {"stall_timeout_ms": 700}


class Skip(Exception):
    """A test cannot run here; says why."""


class Outcome:
    """What the driver said."""

    def __init__(self, output, code):
        self.lines = [json.loads(line) for line in output.splitlines()]
        self.code, self.last = code, self.lines[-1] if self.lines else {}
        self.error, self.text = self.last.get("error", 0), self.last.get("text", "")

    def ok(self, **counts):
        assert self.code == 0, self.last
        for name, value in counts.items():
            assert self.last[name] == value, f"{name} is not {value}: {self.last}"
        return self

    def failed(self, error, *words):
        assert self.code == 1 and self.error == error, self.last
        for word in words:
            assert word in self.text, f"'{word}' is not in: {self.text}"
        return self

    def events(self, name):
        return [line for line in self.lines if line.get("event") == name]


class Place:
    """A store, a configuration and credentials of their own."""

    count = 0

    def __init__(self, registries=None, downloads=None, docker=None, limits=None):
        Place.count += 1
        self.dir = os.path.join(TEMP, f"place{Place.count}")
        os.mkdir(self.dir)
        self.store = os.path.join(self.dir, "store")
        self.config, self.docker = os.path.join(self.dir, "config.json"), os.path.join(self.dir, "docker.json")
        self.configure(registries or {}, {**FAST, **(downloads or {})}, limits or {})
        with open(self.docker, "w", encoding="utf-8") as f:
            json.dump(docker or {}, f)

    def configure(self, registries, downloads, limits):
        with open(self.config, "w", encoding="utf-8") as f:
            json.dump({"registries": registries, "downloads": downloads, "limits": limits}, f)

    def command(self, ref, *options):
        return [DRIVER, "pull", "--config", self.config, "--docker", self.docker, *options, self.store, ref]

    def pull(self, ref, *options, **popen):
        p = subprocess.run(self.command(ref, *options), capture_output=True, timeout=60, check=False, **popen)
        if p.returncode not in (0, 1):
            raise AssertionError(f"driver ended with {p.returncode}: {p.stderr.decode()}")
        self.stderr = p.stderr.decode()
        assert "Sanitizer" not in self.stderr, self.stderr
        return Outcome(p.stdout, p.returncode)

    def do(self, *words):
        p = subprocess.run([DRIVER, words[0], self.store, *words[1:]], capture_output=True, timeout=60, check=False)
        return Outcome(p.stdout, p.returncode)

    def files(self, folder):
        return sorted(os.listdir(os.path.join(self.store, folder)))

    def holds(self, image):
        """The store has all blobs of the image, byte for byte, and its root image."""
        for digest, data in {**image.blobs, image.digest: image.manifest}.items():
            with open(os.path.join(self.store, "blobs/sha256", digest[7:]), "rb") as f:
                assert f.read() == data, f"blob {digest} is not what was pushed"
        root = os.path.join(self.store, "rootfs", image.digest[7:] + ".ext4")
        subprocess.run(["/sbin/e2fsck", "-fn", root], check=True, capture_output=True, timeout=60)
        assert self.files("partial") == [], self.files("partial")
        assert self.files("leases") == []


def insecure(*servers):
    return {s.host: {"insecure": True} for s in servers}


def login(registry, user, password):
    return {"auths": {registry: {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}}}


# --- what all tests pull -------------------------------------------------------------------------------------

rng = random.Random(5)
BASE = make_layer({"etc/os-release": b"ID=test\n", "bin/big": rng.randbytes(3_000_000)})
TOP = make_layer({"app": b"one"})
OTHER_TOP = make_layer({"app": b"two", "more": rng.randbytes(1_000_000)})
one, two = Image([BASE, TOP]), Image([BASE, OTHER_TOP])
many = Image([make_layer({f"file{i}": rng.randbytes(300_000)}) for i in range(9)])

registry = Registry(TEMP, "plain").ready()
registry.put("library/python", "slim", one)
registry.put("a/many", "v1", many)


def ref(name, server=registry):
    return f"{server.host}/{name}"


def run(tests, servers=()):
    """Runs the tests in their order; $ONLY names those that are wanted."""
    wanted = os.environ.get("ONLY")
    tests = [t for t in tests if not wanted or t.__name__ in wanted.split()]
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    for number, test in enumerate(tests, 1):
        start, name = time.monotonic(), test.__name__.replace("_", " ")
        try:
            test()
            print(f"ok {number} - {name} # {time.monotonic() - start:.1f} s", flush=True)
        except Skip as why:
            print(f"ok {number} - {name} # SKIP {why}", flush=True)
        except Exception:  # whatever it is, the next test shall run
            failed += 1
            print("".join("# " + line + "\n" for line in traceback.format_exc().splitlines()), end="")
            print(f"not ok {number} - {name}", flush=True)
    for server in (registry, *servers):
        server.stop()
    sys.exit(1 if failed else 0)
