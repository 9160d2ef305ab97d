# SPDX-License-Identifier: Apache-2.0
"""What users of images see: pulls, lists, removals, and boxes of an image, whose VMM is tests/runtime/fake_vmm.h.

Started as: images_tests.py CUBBY FAKE_VMM TEMPORARY_FOLDER
"""
import atexit
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tarfile
import time
import traceback

from servers import Image, Proxy, Registry, make_layer, status

CUBBY, FAKE_VMM, TEMP = os.path.abspath(sys.argv[1]), *sys.argv[2:4]
LAYERS = [make_layer({"etc/passwd": b"root:x:0:0::/root:/bin/sh\n"}), make_layer({"app": os.urandom(300_000)})]
RUN = {"Env": ["PATH=/usr/bin", "LANG=C.UTF-8", "MODE=image"], "User": "app:staff", "WorkingDir": "/srv",
       "Entrypoint": ["where"], "Cmd": ["one", "two words"], "StopSignal": "SIGINT", "Volumes": {"/data": {}},
       "ExposedPorts": {"80/tcp": {}}, "Labels": {"org.example.note": "a=b", "empty": ""}}

registry = Registry(TEMP, "registry")
atexit.register(registry.stop)
registry.ready()
app = Image(LAYERS, run=RUN)
plain = Image(LAYERS[:1], run={"Cmd": ["exit", "5"]})
bare = Image(LAYERS[:1], run={"Labels": {"none": "to run"}})
foreign = Image(LAYERS[:1], "arm64")
for name, image in (("app", app), ("library/python", plain), ("bare", bare), ("foreign", foreign)):
    registry.put(name, "v1", image)
registry.put("library/python", "slim", plain)

ASSETS = os.path.join(TEMP, "assets")
os.mkdir(ASSETS)
os.symlink(FAKE_VMM, os.path.join(ASSETS, "cubby-vmm"))
for asset in ("vmlinux", "initrd.cpio"):
    with open(os.path.join(ASSETS, asset), "w", encoding="utf-8") as f:
        f.write(asset)


class Home:
    """A home, a configuration and a runtime folder of their own. docker.io is our registry, by the mirror setting."""

    count = 0

    def __init__(self, **registries):
        Home.count += 1
        self.dir = os.path.join(TEMP, f"h{Home.count}")
        os.makedirs(os.path.join(self.dir, "config/cubby"))
        os.mkdir(os.path.join(self.dir, "run"))
        self.store = os.path.join(self.dir, "home/images")
        self.env = {"PATH": os.environ["PATH"], "HOME": self.dir, "CUBBY_HOME": os.path.join(self.dir, "home"),
                    "XDG_CONFIG_HOME": os.path.join(self.dir, "config"), "XDG_RUNTIME_DIR": os.path.join(self.dir, "run"),
                    "CUBBY_ASSETS": ASSETS, "FAKE_VMM": "ok", "DOCKER_CONFIG": self.dir}
        self.configure({"docker.io": {"mirrors": [registry.url]}, registry.host: {"insecure": True}, **registries})

    def configure(self, registries):
        with open(os.path.join(self.dir, "config/cubby/config.json"), "w", encoding="utf-8") as f:
            json.dump({"registries": registries, "downloads": {"backoff_ms": 10, "attempts": 3}}, f)

    def cubby(self, *words, code=0, out=None, err=None, **popen):
        """Runs it; `out` is the whole of stdout, `err` words that stderr has; returns both."""
        p = subprocess.run([CUBBY, *words], env=self.env, capture_output=True, text=True, timeout=60, check=False,
                           stdin=subprocess.DEVNULL, **popen)
        said = f"cubby {' '.join(words)}: code {p.returncode}\nstdout: {p.stdout}\nstderr: {p.stderr}"
        assert p.returncode == code, said
        assert out is None or p.stdout == out, said
        for word in [err] if isinstance(err, str) else err or []:
            assert word in p.stderr, f"no '{word}' in {said}"
        assert err != [] or p.stderr == "", said
        return p.stdout, p.stderr


def name(image="app:v1"):
    return f"{registry.host}/{image}"


# --- pull ----------------------------------------------------------------------------------------------------


def a_pull_tells_each_layer_and_prints_the_reference():
    home = Home()
    _, err = home.cubby("pull", name(), out=name() + "\n")
    for layer in app.layers:
        assert f"{layer['digest'][7:19]}: downloading" in err and f"{layer['digest'][7:19]}: done" in err, err
    assert f"{name()}: 2 layers, 29" in err and app.digest in err and "\033" not in err, err
    home.cubby("pull", name(), out=name() + "\n", err=["up to date", app.digest])
    home.cubby("pull", "--quiet", name(), out=name() + "\n", err=[])
    home.cubby("pull", "-q", name("bare:v1"), "python:slim",
               out=name("bare:v1") + "\ndocker.io/library/python:slim\n", err=[])


def a_pull_on_a_terminal_draws_bars_in_place():
    home = Home()
    slow = Proxy(registry)
    slow.bytes_per_second = 300_000
    home.configure({slow.host: {"insecure": True}})
    master, slave = pty.openpty()
    p = subprocess.Popen([CUBBY, "pull", f"{slow.host}/app:v1"], env=home.env, stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=slave)
    os.close(slave)
    shown = b""
    while select.select([master], [], [], 30)[0]:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        shown += piece
    assert p.wait(30) == 0, shown
    os.close(master)
    text, report = shown.decode().rsplit("\033[J", 1)
    assert report.startswith(f"{slow.host}/app:v1: pulled, ") and app.digest in report, report
    assert re.search(r"\033\[\d+A", text) and "downloading" in text, text
    assert max(len(re.sub(r"\033\[\d*\w", "", line)) for line in text.splitlines()) < 80, text
    for layer in app.layers:
        assert re.search(layer["digest"][7:19] + r"\s+done", text), text
    last = text[text.rindex("A\r" if "A\r" in text else "A"):]
    assert last.count("\n") == 3, text  # the name and two layers, both done


def an_insecure_registry_is_named_on_the_command_line():
    home = Home()
    home.configure({})
    home.cubby("pull", name(), code=125, err=["cannot pull", registry.host])
    home.cubby("pull", "--insecure-registry", registry.host, name(), out=name() + "\n")


def failures_name_registry_and_reference():
    home = Home()
    for reference, words in ((name("nosuch:v1"), ["nosuch:v1", registry.host]), (name("app:nosuch"), ["app:nosuch"]),
                             ("127.0.0.1:1/x", ["127.0.0.1:1/x", "127.0.0.1"]), ("Not/Valid", ["Not/Valid"]),
                             ("nosuch.invalid/x", ["no such host", "nosuch.invalid"])):
        out, err = home.cubby("pull", reference, code=125, err=words)
        assert out == "" and err.count("cubby: ") == 1, err
    home.cubby("pull", "--platform", "linux/riscv64", name("foreign:v1"), code=125, err="linux/riscv64")
    home.cubby("pull", "--platform", "no such", name(), code=125, err="no such")


def a_mistake_in_the_configuration_is_told_with_its_place():
    home = Home()
    path = os.path.join(home.dir, "config/cubby/config.json")
    with open(path, "w", encoding="utf-8") as f:
        f.write('{"registries": {"docker.io": {"mirors": []}}}')
    home.cubby("images", code=125, err=[path, "mirors"])


def a_broken_file_of_docker_harms_only_pulls():
    home = Home()
    home.cubby("pull", "-q", name())
    with open(os.path.join(home.dir, "config.json"), "w", encoding="utf-8") as f:
        f.write("{")
    home.cubby("run", name(), out="/srv\napp:staff\nwhere\none\ntwo words\n")
    home.cubby("pull", name(), code=125, err=os.path.join(home.dir, "config.json"))


def ctrl_c_ends_a_pull():
    home = Home()
    stuck = Proxy(registry)
    stuck.bytes_per_second = 2_000
    home.configure({stuck.host: {"insecure": True}})
    with subprocess.Popen([CUBBY, "pull", f"{stuck.host}/app:v1"], env=home.env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        p.stderr.readline()  # it is on its way
        p.send_signal(signal.SIGINT)
        start = time.monotonic()
        out, _ = p.communicate(timeout=20)
        assert p.returncode == 130 and out == b"", (p.returncode, out)
        assert time.monotonic() - start < 10


def ctrl_c_while_a_box_waits_for_its_image_ends_it():
    home = Home()
    stuck = Proxy(registry)
    stuck.bytes_per_second = 2_000
    home.configure({stuck.host: {"insecure": True}})
    with subprocess.Popen([CUBBY, "run", f"{stuck.host}/app:v1"], env=home.env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        p.stderr.readline()
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=20)
        assert p.returncode == 130, p.returncode
    assert os.listdir(os.path.join(home.dir, "run/cubby")) == []


# --- lists ---------------------------------------------------------------------------------------------------


def images_are_listed_as_a_table_as_ids_and_as_json():
    home = Home()
    out, _ = home.cubby("images", err=[])
    assert re.fullmatch(r"REPOSITORY +TAG +IMAGE ID +PLATFORM +STORED +SIZE\n", out), out
    home.cubby("pull", "-q", name(), "python:slim", f"{registry.host}/bare@{bare.digest}")
    lines = home.cubby("images", err=[])[0].splitlines()
    assert len(lines) == 4 and len({line.index(" ", 0) for line in lines[1:]}) > 1
    assert re.fullmatch(rf"python +slim +{plain.digest[7:19]} +linux/amd64 +\S.* ago|now +[\d.]+ \S+", lines[3]) or \
        any(re.match(rf"python +slim +{plain.digest[7:19]} +linux/amd64 ", line) for line in lines), lines
    assert any(line.startswith(f"{registry.host}/app ") for line in lines), lines
    ids = home.cubby("images", "-q", err=[])[0].split()
    assert sorted(ids) == sorted(i.digest[7:19] for i in (app, plain, bare)), ids
    assert set(home.cubby("images", "-q", "--no-trunc")[0].split()) == {i.digest for i in (app, plain, bare)}
    objects = {o["Reference"]: o for o in map(json.loads, home.cubby("images", "--format", "json")[0].splitlines())}
    o = objects["docker.io/library/python:slim"]
    assert o["Name"] == "python:slim" and o["Id"] == plain.digest and o["Platform"] == "linux/amd64", o
    assert o["Size"] == len(plain.manifest) + sum(map(len, plain.blobs.values())) and o["RootSize"] > 0, o
    home.cubby("images", "--format", "xml", code=125, err="none of table|json")


def inspect_prints_what_docker_prints():
    home = Home()
    home.cubby("pull", "-q", name(), "python:slim")
    out, _ = home.cubby("image", "inspect", name(), "python:slim", plain.digest[7:20], err=[])
    first, second, third = json.loads(out)
    config = first["Config"]
    assert {key: config[key] for key in RUN} == RUN, config
    assert first["Id"] == app.digest and first["Layers"] == [layer["digest"] for layer in app.layers], first
    assert first["RootFS"] == {"Type": "layers", "Layers": [diff for _, diff in LAYERS]}, first
    assert second == third and second["Config"]["Cmd"] == ["exit", "5"] and second["Config"]["Env"] == [], second
    out, _ = home.cubby("image", "inspect", "python:slim", "nosuch", code=125, err="nosuch")
    assert len(json.loads(out)) == 1
    assert json.loads(home.cubby("image", "inspect", "nosuch", code=125)[0]) == []
    home.cubby("image", "inspect", code=125, err="no image is named")


# --- removal -------------------------------------------------------------------------------------------------


def rm_removes_what_no_other_image_needs():
    home = Home()
    home.cubby("pull", "-q", name(), "python:slim", "python:v1")
    blobs = os.path.join(home.store, "blobs/sha256")
    home.cubby("image", "rm", "python:slim", out="Removed: python:slim\n", err=[])
    assert plain.digest[7:] in os.listdir(blobs)  # python:v1 is the same image
    home.cubby("image", "rm", plain.digest[:20], out=f"Removed: {plain.digest[:20]}\n")
    left = set(os.listdir(blobs))
    assert left == {d[7:] for d in app.blobs} | {app.digest[7:]}, left
    assert os.listdir(os.path.join(home.store, "rootfs")) == [app.digest[7:] + ".ext4"]
    home.cubby("image", "rm", "python:slim", code=125, err="python:slim")
    home.cubby("image", "rm", name())
    assert os.listdir(blobs) == [] and os.listdir(os.path.join(home.store, "rootfs")) == []


def prune_counts_what_it_removes():
    home = Home()
    home.cubby("pull", "-q", name())
    out, _ = home.cubby("image", "prune", err=[])
    assert out.startswith("Removed: 0 images, 0 layers and other objects, 0 root file systems"), out
    out, _ = home.cubby("image", "prune", "--all", "--older-than", "1h")
    assert out.startswith("Removed: 0 images"), out
    out, _ = home.cubby("image", "prune", "-a", "--dry-run")
    assert re.match(r"Would remove: 1 images, 4 layers and other objects, 1 root file systems", out), out
    assert home.cubby("images", "-q")[0] != ""
    out, _ = home.cubby("image", "prune", "-a")
    assert re.match(r"Removed: 1 images, 4 layers and other objects, 1 root file systems.*; [1-9]", out), out
    assert home.cubby("images", "-q")[0] == ""


# --- files ---------------------------------------------------------------------------------------------------


def saved_images_can_be_loaded_again():
    home, other = Home(), Home()
    archive = os.path.join(home.dir, "two.tar")
    home.cubby("pull", "-q", name(), "python:slim")
    home.cubby("image", "save", "--output", archive, name(), "python:slim", out="", err=[])
    with tarfile.open(archive) as tar:
        assert {"oci-layout", "index.json", "manifest.json"} <= set(tar.getnames())
    before = len(registry.log())
    other.cubby("image", "load", archive, out=f"Loaded image: {name()}\nLoaded image: docker.io/library/python:slim\n",
                err=[])
    other.cubby("run", "python:slim", code=5, err=[])
    assert len(registry.log()) == before
    assert set(home.cubby("images", "-q")[0].split()) == set(other.cubby("images", "-q")[0].split())
    home.cubby("image", "rm", name(), "python:slim")
    with open(archive, "rb") as f:
        p = subprocess.run([CUBBY, "image", "load", "-q", "--select", "docker.io/library/python:slim"], env=home.env, stdin=f,
                           capture_output=True, text=True, timeout=60, check=False)
    assert (p.returncode, p.stdout) == (0, "docker.io/library/python:slim\n"), p
    assert home.cubby("images", "-q")[0].split() == [plain.digest[7:19]]


def a_folder_becomes_an_image():
    home = Home()
    tree = os.path.join(home.dir, "tree")
    os.mkdir(tree)
    with open(os.path.join(tree, "file"), "w", encoding="utf-8") as f:
        f.write("x")
    home.cubby("image", "load", "--name", "mine:1", tree, out="Loaded image: docker.io/library/mine:1\n")
    home.cubby("run", "mine:1", "exit", "4", code=4, err=[])


def files_that_are_no_images_are_told():
    home = Home()
    home.cubby("image", "load", "/nonexistent", code=125, err="/nonexistent")
    home.cubby("image", "load", "/etc/passwd", code=125, err="/etc/passwd")
    home.cubby("image", "load", "a", "b", code=125, err="one file or folder at a time")
    home.cubby("image", "load", "--select", "nosuch", FAKE_VMM, code=125, err=FAKE_VMM)
    assert home.cubby("images", "-q")[0] == ""


def a_save_that_fails_leaves_no_file_and_a_pipe_that_closes_is_told():
    home = Home()
    archive = os.path.join(home.dir, "x.tar")
    home.cubby("image", "save", "-o", archive, "nosuch", code=125, err="nosuch")
    assert not os.path.exists(archive)
    home.cubby("pull", "-q", name())
    home.cubby("image", "save", "-o", "/nonexistent/x", name(), code=125, err="/nonexistent/x")
    home.cubby("image", "save", "-o", "/dev/full", name(), code=125, err="No space left")
    with subprocess.Popen([CUBBY, "image", "save", name()], env=home.env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        p.stdout.close()
        err = p.stderr.read()
        assert p.wait(30) == 125 and "Broken pipe" in err, err


# --- boxes ---------------------------------------------------------------------------------------------------


def a_box_of_an_image_pulls_it_once():
    home = Home()
    _, err = home.cubby("run", "python:slim", code=5)
    assert "python:slim: 1 layer" in err, err
    before = len(registry.log())
    home.cubby("run", "python:slim", code=5, err=[])
    home.cubby("run", plain.digest[7:19], code=5, err=[])
    assert len(registry.log()) == before, "a warm run asked the registry"
    root = os.stat(os.path.join(home.store, "rootfs", plain.digest[7:] + ".ext4"))
    home.cubby("run", "--pull", "always", "python:slim", code=5)
    assert len(registry.log()) > before
    assert os.stat(os.path.join(home.store, "rootfs", plain.digest[7:] + ".ext4")).st_mtime == root.st_mtime
    home.cubby("run", "--quiet", "python:v1", code=5, err=[])


def never_pulls_nothing():
    home = Home()
    home.cubby("run", "--pull", "never", "python:slim", code=125, err="python:slim")
    home.cubby("run", "--pull", "never", "python", code=125, err=["python", "was taken for an image"])
    home.cubby("run", "--pull", "sometimes", "python:slim", code=125, err="none of missing|always|never")


def the_command_line_is_made_by_dockers_rules():
    home = Home()
    home.cubby("pull", "-q", name(), "python:slim", name("bare:v1"))
    where = "/srv\napp:staff\nwhere\n"
    for words, out in (([name()], "one\ntwo words\n"), ([name(), "x"], "x\n"), ([name(), "--", "x", "--y"], "x\n--y\n"),
                       ([name(), "--memory", "1G"], "--memory\n1G\n"), ([name(), "x", "--", "y"], "x\n--\ny\n")):
        home.cubby("run", *words, out=where + out)
    home.cubby("run", "--entrypoint", "where", name(), out=where)
    home.cubby("run", "--entrypoint", "where", name(), "x", out=where + "x\n")
    home.cubby("run", "--entrypoint", "exit", name(), "9", code=9)
    home.cubby("run", "--entrypoint", "", name(), "exit", "8", code=8)
    home.cubby("run", "--entrypoint", "", name(), code=125, err="no command is given")
    home.cubby("run", "python:slim", "exit", "6", code=6)
    home.cubby("run", name("bare:v1"), code=125, err="no command is given")


def environment_user_and_folder_are_the_images_unless_given():
    home = Home()
    home.cubby("run", "--entrypoint", "env", name(), out="".join(v + "\n" for v in RUN["Env"]))
    home.cubby("run", "--entrypoint", "env", "-e", "MODE=mine", "-e", "NEW=1", name(),
               out="PATH=/usr/bin\nLANG=C.UTF-8\nMODE=mine\nNEW=1\n")
    home.cubby("run", "-u", "0", "-w", "/tmp", name(), "x", out="/tmp\n0\nwhere\nx\n")


def what_cannot_be_run_is_told():
    home = Home()
    home.cubby("run", "--platform", "linux/arm64", name("foreign:v1"), code=125, err=["linux/arm64", "linux/amd64"])
    home.cubby("run", "--rootfs", "/", name(), code=125, err="exclude each other")
    home.cubby("run", "--entrypoint", "x", "--", "true", code=125, err="need an image")
    home.cubby("run", "nosuch", "-a", code=125, err=["nosuch", "cubby run -- nosuch"])


def an_image_in_use_is_not_pruned():
    home = Home()
    home.cubby("pull", "-q", name())
    with subprocess.Popen([CUBBY, "run", "--entrypoint", "hang", name()], env=home.env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
        for _ in range(200):
            if any(o["InUse"] for o in map(json.loads, home.cubby("images", "--format", "json")[0].splitlines())):
                break
            time.sleep(0.05)
        else:
            raise AssertionError("the image is not in use")
        home.cubby("image", "prune", "--all")
        home.cubby("image", "rm", name())
        assert os.listdir(os.path.join(home.store, "rootfs")) == [app.digest[7:] + ".ext4"]
        p.send_signal(signal.SIGTERM)
        p.send_signal(signal.SIGTERM)
        p.wait(20)
    home.cubby("image", "prune")
    assert os.listdir(os.path.join(home.store, "rootfs")) == []


def a_registry_that_fails_at_first_is_asked_again():
    home = Home()
    flaky = Proxy(registry)
    flaky.fail("GET .*/blobs/", status(503), 2)
    home.configure({flaky.host: {"insecure": True}})
    home.cubby("pull", f"{flaky.host}/app:v1", err=["trying again in", "503"])


def what_a_registry_says_is_made_printable():
    home = Home()
    flaky = Proxy(registry)
    home.configure({flaky.host: {"insecure": True}})
    # U+009B, as the two bytes that UTF-8 has for it, begins a control sequence as "ESC [" does.
    realm = f"{flaky.url}/token\xc2\x9b31m"
    flaky.fail("GET .*/blobs/", status(401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'}), 100)
    flaky.fail("GET /token", status(503), 100)
    said = home.cubby("pull", f"{flaky.host}/app:v1", code=125, err=["trying again in", "token??31m", "503"])[1]
    assert not any(c < " " and c != "\n" or "\x7f" <= c <= "\x9f" for c in said), repr(said)


NOT_TESTS = (Home, name)
TESTS = [v for v in list(globals().values()) if getattr(v, "__module__", "") == "__main__" and v not in NOT_TESTS]


def main():
    failed = 0
    print(f"1..{len(TESTS)}")
    for number, test in enumerate(TESTS, 1):
        try:
            test()
            print(f"ok {number} - {test.__name__.replace('_', ' ')}", flush=True)
        except Exception:  # pylint: disable=broad-except  # whatever it is, the next test goes on
            failed = 1
            print("".join("# " + line + "\n" for line in traceback.format_exc().splitlines()), end="")
            print(f"not ok {number} - {test.__name__.replace('_', ' ')}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
