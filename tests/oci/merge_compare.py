#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Layers merged into an ext4 image, mounted, against the same layers unpacked by `umoci unpack` as root.

For each image: e2fsck finds it clean, and every path has the same type, mode, owner, times, size, link count, device
number, extended attributes, target and content. Prints TAP. Only root can unpack devices and owners, and mount.
"""
import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile

MERGE = os.environ.get("MERGE_LAYERS", "build/merge-layers")
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DATE = 1600000000
MEMORY_KIB = 64 << 10


class Layer:
    """A tar archive that is being written."""

    def __init__(self, path):
        self.path = path
        self.tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape")

    def add(self, name, kind, data=b"", mode=None, uid=0, gid=0, mtime=DATE, link="", xattrs=None, dev=(0, 0)):
        info = tarfile.TarInfo(name)
        info.type = kind
        info.mode = mode if mode is not None else 0o755 if kind == tarfile.DIRTYPE else 0o644
        info.uid, info.gid, info.mtime, info.linkname = uid, gid, mtime, link
        info.size = len(data)
        info.devmajor, info.devminor = dev
        # tarfile writes text; attributes are bytes, and surrogateescape carries them through.
        for key, value in (xattrs or {}).items():
            info.pax_headers["SCHILY.xattr." + key] = value.decode("utf-8", "surrogateescape")
        if isinstance(mtime, str):
            info.mtime = int(float(mtime))
            info.pax_headers["mtime"] = mtime
        self.tar.addfile(info, io.BytesIO(data))
        return self

    def dir(self, name, **kw):
        return self.add(name, tarfile.DIRTYPE, **kw)

    def file(self, name, data=b"", **kw):
        return self.add(name, tarfile.REGTYPE, data, **kw)

    def symlink(self, name, target, **kw):
        return self.add(name, tarfile.SYMTYPE, link=target, mode=0o777, **kw)

    def link(self, name, target):
        return self.add(name, tarfile.LNKTYPE, link=target)

    def node(self, name, kind, **kw):
        return self.add(name, kind, **kw)

    def whiteout(self, name):
        folder, _, base = name.rpartition("/")
        return self.file((folder + "/" if folder else "") + ".wh." + base)

    def opaque(self, folder):
        return self.file(folder + "/.wh..wh..opq" if folder else ".wh..wh..opq")


class Image:
    """An OCI layout of one image."""

    def __init__(self, root):
        self.root = root
        self.layers = []
        self.undated = set()  # paths whose time is the moment of unpacking there
        os.makedirs(root + "/blobs/sha256")

    def layer(self):
        layer = Layer(f"{self.root}/layer{len(self.layers)}.tar")
        self.layers.append(layer)
        return layer

    def blob(self, data):
        digest = hashlib.sha256(data).hexdigest()
        with open(f"{self.root}/blobs/sha256/{digest}", "wb") as f:
            f.write(data)
        return {"digest": "sha256:" + digest, "size": len(data)}

    def finish(self):
        descriptors, diffs = [], []
        for layer in self.layers:
            layer.tar.close()
            with open(layer.path, "rb") as f:
                data = f.read()
            os.unlink(layer.path)
            diffs.append("sha256:" + hashlib.sha256(data).hexdigest())
            descriptors.append({"mediaType": LAYER, **self.blob(gzip.compress(data, 1, mtime=0))})
        config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diffs}}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": descriptors,
                    "config": {"mediaType": CONFIG, **self.blob(json.dumps(config).encode())}}
        index = {"schemaVersion": 2, "manifests": [{"mediaType": MANIFEST, **self.blob(json.dumps(manifest).encode()),
                                                    "annotations": {"org.opencontainers.image.ref.name": "test"}}]}
        for name, value in (("index.json", index), ("oci-layout", {"imageLayoutVersion": "1.0.0"})):
            with open(f"{self.root}/{name}", "w", encoding="utf-8") as f:
                json.dump(value, f)
        # As merge-layers wants them.
        self.words = [word for diff, d in zip(diffs, descriptors)
                      for word in (LAYER, diff, f"{self.root}/blobs/sha256/{d['digest'][7:]}")]


# --- the images ---

def many_layers(image):
    """Forty layers that add, replace and change."""
    for n in range(40):
        layer = image.layer()
        layer.dir("./", mode=0o755, mtime=DATE + n)
        layer.dir("etc/", mode=0o755 if n % 2 else 0o711, uid=n, gid=2 * n, mtime=f"{DATE + n}.{n:09d}")
        layer.file(f"etc/own{n}", b"x" * n * 1000, mode=0o4755, uid=70000 + n, gid=4294967294)
        layer.file("etc/shared", f"version {n}".encode() * (40 - n), mtime=f"{DATE}.123456789")
        layer.file(f"etc/turn{n % 3}", os.urandom(3 * 4096 + n))
    last = image.layer()
    last.file("before", b"1", mtime="-86400.500000000").file("long-before", b"2", mtime=-2000000000)
    last.file("later", b"3", mtime="4102444800.250000000").file("much-later", b"4", mtime=9000000000)
    last.file("nobody", b"", uid=4294967294, gid=65535, mode=0o7777)


def whiteouts(image):
    """Whiteouts and opaque folders in every order."""
    base = image.layer()
    for top in "abcdefgh":
        base.dir(top).dir(f"{top}/sub").dir(f"{top}/sub/deep")
        for name in ("one", "two", "sub/three", "sub/deep/four"):
            base.file(f"{top}/{name}", top.encode() * 100)
    up = image.layer()
    up.whiteout("a/one").whiteout("a/sub")
    up.file("b/new", b"new").opaque("b").file("b/newer", b"newer")
    up.dir("c/sub", mode=0o700).file("c/sub/three", b"again").whiteout("c/sub")
    up.whiteout("d").dir("d").file("d/fresh", b"fresh")
    up.opaque("e/sub").whiteout("nothing").opaque("not/there").whiteout("not/there/either")
    up.file("f/sub/deep/five", b"five").whiteout("f")
    up.whiteout("g")
    up.file("h/one", b"replaced").whiteout("h/one")
    top = image.layer()
    top.file("g", b"a file now").file("a/sub", b"a file as well").whiteout("e/two")
    top.file("h/.wh..wh.plnk", b"").whiteout("b/newer")
    # Whiteouts below an entry of their own layer change its time there.
    image.undated |= {"c/sub", "f", "f/sub", "f/sub/deep"}


def hard_links(image):
    """Links within and across layers; the target is replaced, removed, or a symbolic link."""
    base = image.layer()
    base.dir("d").file("d/a", b"A" * 5000).link("d/b", "d/a").link("c", "./d/b")
    base.symlink("s", "d/a").link("t", "s")
    base.node("fifo", tarfile.FIFOTYPE).link("fifo2", "fifo")
    base.dir("real").symlink("way", "real").file("real/x", b"x")
    up = image.layer()
    up.link("e", "d/a").file("d/a", b"replaced").link("f", "/d/b").link("g", "way/x")
    top = image.layer()
    top.whiteout("c").link("h", "d/a").file("e", b"cut off").link("i", "../../d/b").file("t", b"no link any more")


def attributes(image):
    """Extended attributes, capabilities, access control lists."""
    capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    acl = struct.pack("<IHHIHHIHHIHHIHHI", 2, 1, 7, 0xffffffff, 2, 6, 1000, 4, 5, 0xffffffff, 16, 7, 0xffffffff,
                      32, 4, 0xffffffff)
    base = image.layer()
    base.file("cap", b"x", mode=0o755, xattrs={"security.capability": capability})
    base.file("user", b"x", xattrs={"user.note": b"\xff\xfe binary = \n bytes", "trusted.t": b"t"})
    base.file("large", b"x", xattrs={"user.large": os.urandom(1500).replace(b"\0", b"1"), "user.small": b"s" * 10})
    base.file("many", b"x", xattrs={f"user.n{i:02d}": b"v" * i for i in range(1, 40)})
    base.file("acl", b"x", mode=0o674, xattrs={"system.posix_acl_access": acl})
    base.dir("folder", mode=0o775, xattrs={"system.posix_acl_default": acl, "user.first": b"1"})
    base.file("lost", b"x", xattrs={"user.note": b"goes with the file"})
    base.file("selinux", b"x", xattrs={"security.selinux": b"host_t", "user.kept": b"1"})
    up = image.layer()
    up.dir("folder", mode=0o775, xattrs={"user.second": b"2"}).file("lost", b"y").link("cap2", "cap")


def deep_tree(image):
    """Long names, any bytes, hundreds of folders deep."""
    layer = image.layer()
    path = "deep"
    layer.dir(path)
    while len(path) < 1200:  # the other tool's time grows with the square
        path += "/" + "level" * (1 + len(path) % 3)
        layer.dir(path)
    layer.file(path + "/end", b"end")
    layer.file("n" * 255, b"1").dir("d" * 255).file("d" * 255 + "/" + "f" * 255, b"2")
    layer.file("\u00fcml\u00e4ut", b"3").file("u\u0308ml", b"4").file("\U0001f600", b"5")
    for byte in (1, 7, 9, 10, 13, 27, 32, 92, 127, 128, 160, 255):
        layer.file("odd-" + bytes([byte]).decode("utf-8", "surrogateescape"), bytes([byte]))
    for n in (59, 60, 61, 200, 4000):
        layer.symlink(f"link{n}", "t" * n, mtime=DATE + n)
    image.layer().file(path + "/end", b"replaced").whiteout("deep/level")


def small_files(image):
    """Fifty thousand small files, most in one folder, and some of them replaced and removed."""
    layer = image.layer()
    layer.dir("big")
    for n in range(40000):
        layer.file(f"big/file-{n:05d}", b"%d" % n * (n % 700))
    for n in range(100):
        layer.dir(f"dirs/{n}")
        for m in range(100):
            layer.file(f"dirs/{n}/{m}", b"x")
    image.undated |= {"", "dirs"}
    up = image.layer()
    for n in range(0, 40000, 7):
        up.whiteout(f"big/file-{n:05d}")
    for n in range(3, 40000, 70):
        up.file(f"big/file-{n:05d}", b"again" * 3000)


def symlinked_parents(image):
    """Entries below symbolic links, and every kind of object over every other."""
    base = image.layer()
    base.dir("usr").dir("usr/lib").symlink("lib", "usr/lib").symlink("abs", "/usr/lib").symlink("up", "../../../usr")
    base.dir("node_modules").dir("node_modules/.pnpm").dir("node_modules/.pnpm/a@1")
    base.symlink("node_modules/a", ".pnpm/a@1").symlink("chain1", "chain2").symlink("chain2", "chain3/lib")
    base.symlink("chain3", "up").symlink("dangling", "made/by/need").symlink("out", "/../../../etc")
    base.dir("etc").file("etc/passwd", b"root")
    kinds = {"dir": base.dir, "file": base.file, "sym": lambda n: base.symlink(n, "etc")}
    for old, make in kinds.items():
        for new in ("dir", "file", "sym", "fifo", "link"):
            make(f"{old}-{new}")
            if old == "dir":
                base.file(f"{old}-{new}/inside", b"x")
    up = image.layer()
    up.file("lib/libc", b"1").file("abs/libm", b"2").file("up/readme", b"3").file("chain1/far", b"4")
    up.file("node_modules/a/index.js", b"5").file("dangling/file", b"6").file("out/shadow", b"7")
    up.dir("node_modules/a/sub").link("lib/again", "chain1/libc").file("../../escaped", b"8").file("/absolute", b"9")
    for old in kinds:
        up.dir(f"{old}-dir", mode=0o711).file(f"{old}-file", b"new").symlink(f"{old}-sym", "usr")
        up.node(f"{old}-fifo", tarfile.FIFOTYPE).link(f"{old}-link", "etc/passwd")
    image.undated |= {"", "made", "made/by", "made/by/need"}


def special_files(image):
    """Devices of small and large numbers, pipes."""
    layer = image.layer()
    layer.dir("dev")
    for n, dev in enumerate(((1, 3), (5, 0), (259, 70000), (4095, 1048575), (0, 255), (255, 256))):
        layer.node(f"dev/c{n}", tarfile.CHRTYPE, dev=dev, mode=0o620, gid=5)
        layer.node(f"dev/b{n}", tarfile.BLKTYPE, dev=dev)
    layer.node("dev/pipe", tarfile.FIFOTYPE, mode=0o600, uid=7)
    image.layer().node("dev/c1", tarfile.BLKTYPE, dev=(7, 7)).whiteout("dev/c2")


def sparse_file(image):
    """A file of 5 GiB with three islands of data, as GNU tar writes it."""
    with tempfile.TemporaryDirectory() as tmp:
        with open(tmp + "/sparse", "wb") as f:
            for at in (0, 3000000000, 5368709120 - 10):
                f.seek(at)
                f.write(b"island %d" % at if at < 5e9 else b"0123456789")
        os.utime(tmp + "/sparse", ns=(DATE * 10**9, DATE * 10**9 + 5))
        layer = image.layer()
        layer.tar.close()
        subprocess.run(["tar", "-C", tmp, "--format=pax", "--sparse", "-cf", layer.path, "sparse"], check=True)


IMAGES = (many_layers, whiteouts, hard_links, attributes, deep_tree, small_files, symlinked_parents, special_files,
          sparse_file)


# --- comparison ---

def attributes_of(path):
    return {name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False) if name != "security.selinux"}


def islands(fd, size):
    """The pieces of a file that are not holes."""
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            return
        at = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, at


def piece_is_zero(fd, start, end):
    while start < end:
        data = os.pread(fd, min(1 << 20, end - start), start)
        if data.count(0) != len(data):
            return False
        start += len(data)
    return True


def same_content(one, two, size):
    """Compares what either file holds; a hole equals zeros."""
    with open(one, "rb") as f, open(two, "rb") as g:
        a, b = f.fileno(), g.fileno()
        done = 0
        for start, end in islands(b, size):
            # What lies between islands of the image must be zeros in the other file.
            if start > done and not piece_is_zero(a, done, start):
                return False
            for at in range(start, end, 1 << 20):
                n = min(1 << 20, end - at)
                if os.pread(a, n, at) != os.pread(b, n, at):
                    return False
            done = end
        return piece_is_zero(a, done, size)


def describe(path, undated):
    st = os.lstat(path)
    folder = stat.S_ISDIR(st.st_mode)
    facts = {"mode": oct(st.st_mode), "owner": (st.st_uid, st.st_gid), "links": st.st_nlink, "xattrs": attributes_of(path)}
    if not undated:
        facts["mtime"] = st.st_mtime_ns
    if not folder:
        facts["size"] = st.st_size
    if stat.S_ISLNK(st.st_mode):
        facts["target"] = os.readlink(path)
    if stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
        facts["device"] = st.st_rdev
    return facts, st


def compare(image, theirs, ours):
    """The differences, at most ten."""
    found, inodes = [], {}

    def visit(rel):
        a, b = (os.path.join(side, rel) if rel else side for side in (theirs, ours))
        facts_a, st_a = describe(a, rel in image.undated)
        facts_b, st_b = describe(b, rel in image.undated)
        for key in sorted(set(facts_a) | set(facts_b)):
            if facts_a.get(key) != facts_b.get(key):
                found.append(f"{rel!r}: {key}: {facts_a.get(key)} there, {facts_b.get(key)} here")
        if inodes.setdefault(st_a.st_ino, st_b.st_ino) != st_b.st_ino:
            found.append(f"{rel!r}: not the same object as the other name of it")
        if stat.S_ISREG(st_a.st_mode) and stat.S_ISREG(st_b.st_mode) and not same_content(a, b, st_a.st_size):
            found.append(f"{rel!r}: content")
        if not (stat.S_ISDIR(st_a.st_mode) and stat.S_ISDIR(st_b.st_mode)):
            return
        names_a, names_b = set(os.listdir(a)), set(os.listdir(b))
        for name in sorted(names_a ^ names_b):
            found.append(f"{os.path.join(rel, name)!r}: only {'there' if name in names_a else 'here'}")
        for name in sorted(names_a & names_b):
            # A name may be looked up by way of the index as well as listed.
            visit(os.path.join(rel, name))

    visit("")
    return found[:10]


@contextlib.contextmanager
def mounted(image, where):
    os.mkdir(where)
    subprocess.run(["mount", "-o", "loop,ro", image, where], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", where], check=True)


def merge(image, path):
    """Merges and returns the peak of memory in KiB."""
    said = subprocess.run([MERGE, path] + image.words, check=True, capture_output=True, text=True).stdout
    return int(said.split("peak ")[1].split()[0])


def check_image(build, tmp):
    image = Image(tmp + "/layout")
    build(image)
    image.finish()
    subprocess.run(["umoci", "raw", "unpack", "--image", image.root + ":test", tmp + "/root"], check=True,
                   capture_output=True)
    peak = merge(image, tmp + "/img")
    if peak > MEMORY_KIB:
        return [f"the merge took {peak} KiB of memory"]
    fsck = subprocess.run(["e2fsck", "-fn", tmp + "/img"], capture_output=True, text=True, check=False)
    if fsck.returncode:
        return ["e2fsck: " + line for line in (fsck.stdout + fsck.stderr).splitlines()[:10]]
    with mounted(tmp + "/img", tmp + "/mnt"):
        return compare(image, tmp + "/root", tmp + "/mnt")


def main():
    os.umask(0o022)
    sys.setrecursionlimit(10000)
    if os.geteuid() != 0:
        print("1..0 # SKIP only root can unpack owners and devices, and mount")
        return 0
    print(f"1..{len(IMAGES)}", flush=True)
    failed = 0
    for n, build in enumerate(IMAGES, 1):
        tmp = tempfile.mkdtemp(prefix="cubby-merge-")
        try:
            found = check_image(build, tmp)
        except (subprocess.CalledProcessError, OSError) as e:
            found = [str(e)]
        finally:
            shutil.rmtree(tmp)
        for line in found:
            print("# " + line)
        print(f"{'not ok' if found else 'ok'} {n} - {build.__doc__.rstrip('.')}", flush=True)
        failed += bool(found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
