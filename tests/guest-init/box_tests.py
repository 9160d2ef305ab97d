# SPDX-License-Identifier: Apache-2.0
"""docs/init-contract.md and docs/protocol.md, held against real guests. Prints TAP.

    python3 box_tests.py BUILD_FOLDER TEMPORARY_FOLDER
"""
import os
import shutil
import socket
import struct
import subprocess
import sys
import time

from agent_client import (ARCHIVE, CONTENTS, FILE, FLAG_DETACHED, FLAG_STDERR, FLAG_STDIN, FLAG_STDOUT, FOLDER, HARD_LINK,
                          KILL, LEAVE, RESIZE, STARTED, STDIN, STDOUT, STREAM_EOF, SYMLINK, Agent, Entry)

BUILD, TEMP = sys.argv[1:3]
READY, SHUTDOWN, BYE, EVENT = 0x60, 0x61, 0x64, 0x65
EXITED_HOW, SIGNALED, TIMED_OUT, OOM_KILLED = 1, 2, 3, 4
GRACE_EXPIRED, OUTPUT_CUT, LEFTOVER, OOM, PIDS_LIMIT, MEMORY_LIMIT = 4, 8, 16, 32, 64, 128
CONSOLE = "console=hvc0 quiet panic=-1 reboot=t "


class Box:
    """A VM with our init; its control connection is taken, as a library on the host would."""

    def __init__(self, cmdline="cubby.root=/dev/vda", upper=None, memory=128):
        self.dir = os.path.join(TEMP, "box")
        shutil.rmtree(self.dir, ignore_errors=True)
        os.mkdir(self.dir)
        self.vsock, self.console = self.dir + "/v", self.dir + "/console"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.vsock + "_1024")
        self.listener.listen(1)
        self.listener.settimeout(120)
        argv = [BUILD + "/cubby-vmm", "--kernel", BUILD + "/vmlinux", "--initrd", BUILD + "/initrd.cpio",
                "--memory", str(memory), "--disk", BUILD + "/default.ext4,ro", "--vsock", self.vsock,
                "--console", self.console, "--cmdline", CONSOLE + cmdline]
        if upper:
            argv += ["--disk", upper]
        self.errors = open(self.dir + "/vmm.log", "wb+")
        self.vmm = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=self.errors)
        self.control = None

    def ready(self):
        sock, _ = self.listener.accept()
        self.control = Agent.__new__(Agent)
        self.control.sock, self.control.buf = sock, b""
        sock.settimeout(120)
        kind, self.ready_payload = self.control.next()
        assert kind == READY, hex(kind)
        return self

    def sh(self, script, **wishes):
        return self.exec(["sh", "-c", script], **wishes)

    def exec(self, argv, **wishes):
        out, err = bytearray(), bytearray()
        agent = Agent(self.vsock)
        agent.exec(argv, **wishes)
        result = agent.result(out.extend, err.extend)
        result.update(out=bytes(out), err=bytes(err))
        return result

    def detach(self, script, **wishes):
        """Starts a detached execution and leaves it; its id."""
        agent = Agent(self.vsock)
        agent.exec(["sh", "-c", script], flags=FLAG_STDOUT | FLAG_STDERR | FLAG_DETACHED, **wishes)
        while True:
            kind, payload = agent.next()
            if kind == STARTED:
                agent.sock.close()
                return struct.unpack_from("<Q", payload)[0]

    def watch(self, exec_id, **wishes):
        out, err = bytearray(), bytearray()
        agent = Agent(self.vsock)
        agent.attach(exec_id, **wishes)
        result = agent.result(out.extend, err.extend)
        result.update(out=bytes(out), err=bytes(err))
        return result

    def wait(self):
        return self.vmm.wait(timeout=120)

    def stop(self, grace_ms=2000):
        """Asks for the end; the frames up to BYE, and the VMM's exit code."""
        self.control.send(SHUTDOWN, struct.pack("<I", grace_ms))
        frames = [self.control.next()]
        while frames[-1][0] != BYE:
            frames.append(self.control.next())
        self.control.sock.close()
        return frames, self.wait()

    def close(self):
        self.vmm.kill()
        self.vmm.wait()
        self.listener.close()

    def console_text(self):
        with open(self.console, "rb") as f:
            return f.read().decode(errors="replace")


def equal(got, want):
    assert got == want, "%r, not %r" % (got, want)


def processes(box, name):
    """By their own name: what is left of the fork bomb has "sleep" among its arguments, too."""
    return int(box.sh("pidof %s | wc -w" % name)["out"])


# --- one box for all of these ---

def files_come_and_go(box):
    tree = [Entry(FOLDER, mode=0o755),
            Entry(FILE, b"file\xff", 0o4750, (12, 34), (-7, 5), 1 << 33, linked=1,
                  data=[(3, b"data"), ((1 << 33) - 3, b"end")], xattrs={b"user.a": b"", b"trusted.b": b"\0"}),
            Entry(FOLDER, b"sub", 0o700),
            Entry(HARD_LINK, b"sub/same", 0o4750, (12, 34), (-7, 5), target=b"file\xff"),
            Entry(SYMLINK, b"sub/up", 0o777, mtime=(1, 2), target=b"../../.."),
            Entry(LEAVE, b"sub", 0o500, (1, 1), (3, 4)), Entry(LEAVE, mode=0o711, mtime=(5, 6))]
    equal(Agent(box.vsock).put(b"/tmp/new", tree, flags=CONTENTS | ARCHIVE), (5, 7, 0, 0))
    r = box.sh("cd /tmp/new; stat -c '%n %a %u:%g %s %h' file* sub/*; cat sub/same | head -c 7 | tail -c 4")
    equal(r["out"], b"file\xff 4750 12:34 8589934592 2\nsub/same 4750 12:34 8589934592 2\nsub/up 777 0:0 8 1\ndata")
    entries, totals = Agent(box.vsock).get(b"/tmp/new", ARCHIVE)
    equal(totals[0], 5)
    equal([e.path for e in entries], [e.path for e in tree])
    for got, sent in zip(entries, tree):
        equal((got.kind, got.size, got.target, got.xattrs), (sent.kind, sent.size, sent.target, sent.xattrs))
        if sent.kind != FOLDER: # what it is comes when it is left
            equal((got.mode, got.owner, got.mtime), (sent.mode, sent.owner, sent.mtime))
    assert sum(len(piece) for _, piece in entries[1].data) <= 16384 # the rest is a hole
    box.sh("rm -r /tmp/new")


def files_do_not_leave_their_place(box):
    box.sh("mkdir /tmp/place && ln -s /etc /tmp/place/link")
    for path in (b"../x", b"/etc/x", b"a//b", b"link/x", b"none/x"):  # the last two were not entered
        r = Agent(box.vsock).put(b"/tmp/place", [Entry(FOLDER), Entry(FILE, path)])
        equal(r["error"], 1)
    r = Agent(box.vsock).put(b"/tmp/place", [Entry(FOLDER), Entry(FOLDER, b"link"), Entry(FILE, b"link/x")])
    equal(r["error"], 14)
    equal(box.sh("ls -A /tmp/place; ls /etc/x 2>&1 | wc -l")["out"], b"link\n1\n")
    equal(Agent(box.vsock).get(b"/proc")["errno"], 95)
    equal(Agent(box.vsock).get(b"/none")["errno"], 2)


def ready_tells_versions_kernel_and_marks(box):
    low, high, cpus, memory, init, root, agent = struct.unpack_from("<HHIQQQQ", box.ready_payload)
    equal((low, high, cpus), (1, 1, 1))
    assert 64 << 20 < memory < 128 << 20, memory
    assert 0 < init < root < agent, (init, root, agent)
    assert b"cubby" in box.ready_payload[40:], box.ready_payload[40:]


def streams_and_code_are_kept_apart(box):
    r = box.sh("echo out; echo err >&2; exit 7")
    equal((r["out"], r["err"], r["how"], r["code"], r["flags"]), (b"out\n", b"err\n", EXITED_HOW, 7, 0))


def a_process_starts_as_the_contract_says(box):
    r = box.sh("id -u; id -g; pwd; umask; ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj;"
               "echo $PATH; echo $HOME; ls /proc/$$/fd; :")  # no pipe: the shell itself would hold it for a moment
    lines = r["out"].decode().split("\n")
    equal(lines[:8], ["0", "0", "/", "0022", "65536", "1048576", "0", "0"])
    equal(lines[8:10], ["/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "/root"])
    equal(lines[10:], ["0", "1", "2", ""])
    r = box.exec(["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"])
    equal(r["out"].split()[1::2], [b"0" * 16, b"0" * 16])


def file_systems_are_where_they_belong(box):
    mounts = {}
    for line in box.exec(["cat", "/proc/mounts"])["out"].decode().splitlines():
        _, where, kind, options = line.split()[:4]
        mounts[where] = (kind, set(options.split(",")))
    expected = {"/": "overlay", "/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs", "/dev/pts": "devpts",
                "/dev/shm": "tmpfs", "/dev/mqueue": "mqueue", "/run": "tmpfs", "/tmp": "tmpfs",
                "/sys/fs/cgroup": "cgroup2"}
    equal({k: v[0] for k, v in mounts.items()}, expected)
    for where in ("/proc", "/sys", "/run", "/tmp"):
        assert {"nosuid", "nodev"} <= mounts[where][1], where
    r = box.sh("touch /new /etc/new && mkdir /usr/new && readlink /dev/fd && stat -c %a / /tmp /dev/shm")
    equal(r["out"], b"/proc/self/fd\n755\n1777\n1777\n")


def names_and_loopback_are_there(box):
    r = box.sh("hostname; grep -c localhost /etc/hosts; cat /sys/class/net/lo/flags; ping -c1 127.0.0.1 >/dev/null; echo $?")
    equal(r["out"].decode().split(), ["cubby", "2", "0x9", "0"])


def failures_to_start_have_their_stage(box):
    for argv, stage, errnum in ((["nosuch"], 11, 2), (["/etc/passwd"], 11, 13), (["/etc"], 11, 13)):
        r = box.exec(argv)
        equal((r["error"], r["errno"]), (stage, errnum))
    equal(box.exec(["true"], user="nobody-here")["error"], 9)
    equal(box.exec(["true"], cwd="/nowhere")["error"], 10)
    r = box.sh("printf '#!/no/such\\n' >/tmp/s; chmod +x /tmp/s; printf hello >/tmp/t; chmod +x /tmp/t")
    equal((box.exec(["/tmp/s"])["error"], box.exec(["/tmp/s"])["errno"]), (12, 2))
    equal((box.exec(["/tmp/t"])["error"], box.exec(["/tmp/t"])["errno"]), (12, 8))
    equal(box.sh("nosuch")["code"], 127)


def another_user_is_that_user(box):
    r = box.sh("id; cat /root/x; pwd", user="1234:5", cwd="/tmp")
    assert r["out"].startswith(b"uid=1234 gid=5"), r["out"]
    assert r["out"].endswith(b"\n/tmp\n") and b"denied" in r["err"], r


def signals_end_as_sent(box):
    for signo in (1, 2, 9, 11, 15):
        r = box.sh("kill -%d $$" % signo)
        equal((r["how"], r["signo"], r["code"]), (SIGNALED, signo, 0))


def a_timeout_takes_the_whole_tree(box):
    r = box.sh("sleep 1000 & (setsid sleep 1000 &) ; exec sleep 1000", timeout_ms=1000)
    equal((r["how"], r["signo"], r["flags"]), (TIMED_OUT, 15, 0))
    equal(processes(box, "sleep"), 0)


def who_ignores_sigterm_is_killed(box):
    r = box.sh("trap '' TERM; sleep 1000 & sleep 1000; sleep 1000", timeout_ms=500, grace_ms=300)
    equal((r["how"], r["signo"], r["flags"]), (TIMED_OUT, 9, GRACE_EXPIRED))
    equal(processes(box, "sleep"), 0)


def kill_takes_double_forked_and_stopped_children(box):
    agent = Agent(box.vsock)
    agent.exec(["sh", "-c", "(setsid sh -c 'sleep 1000 & kill -STOP $$' &); sleep 1000 & echo up; wait"])
    while agent.next()[0] != STDOUT:
        pass
    agent.send(KILL)
    r = agent.result(lambda b: None, lambda b: None)
    equal((r["how"], r["signo"]), (SIGNALED, 9))
    equal(processes(box, "sleep"), 0)


def a_client_that_leaves_takes_its_tree_along(box):
    agent = Agent(box.vsock)
    agent.exec(["sh", "-c", "trap '' HUP TERM; sleep 1000 & (setsid sleep 1000 &); sleep 1000"])
    while agent.next()[0] != STARTED:
        pass
    agent.sock.close()
    for _ in range(100):
        if processes(box, "sleep") == 0:
            return
        time.sleep(0.1)
    raise AssertionError("the tree lives on")


def left_behind_children_do_not_delay(box):
    r = box.sh("sleep 77 & echo done")
    equal((r["out"], r["how"], r["code"], r["flags"]), (b"done\n", EXITED_HOW, 0, LEFTOVER | OUTPUT_CUT))
    equal(processes(box, "sleep"), 1)
    box.sh("pkill sleep || killall sleep")


def a_memory_limit_is_told_and_kept(box):
    r = box.sh("x=aaaaaaaa; while :; do x=$x$x; done", limits=(8 << 20, 0, 0))
    equal((r["how"], r["signo"], r["flags"]), (OOM_KILLED, 9, OOM | MEMORY_LIMIT))
    assert r["mem_peak"] <= 8 << 20, r
    equal(box.sh("echo alive")["out"], b"alive\n")


def an_inner_oom_is_told_with_the_code(box):
    r = box.sh("sh -c 'x=aaaaaaaa; while :; do x=$x$x; done'; echo $?", limits=(8 << 20, 0, 0))
    equal((r["how"], r["code"], r["flags"], r["out"]), (EXITED_HOW, 0, OOM | MEMORY_LIMIT, b"137\n"))


def pid_1_survives_a_hog_without_limits(box):
    r = box.sh("x=aaaaaaaa; while :; do x=$x$x; done")
    equal((r["how"], r["signo"], r["flags"]), (OOM_KILLED, 9, OOM)) # the box's memory, not a limit of its own
    equal(box.sh("echo alive")["out"], b"alive\n")
    events = 0
    box.control.sock.settimeout(30)
    while events < 3: # this test's and those of the two before
        kind, payload = box.control.next()
        equal((kind, struct.unpack_from("<H", payload)[0]), (EVENT, 1))
        events += 1
    equal(struct.unpack_from("<HHQ", payload)[2], 3)


def a_fork_bomb_meets_its_limit(box):
    agent = Agent(box.vsock)
    agent.exec(["sh", "-c", "bomb() { bomb | bomb & }; bomb; sleep 1000"], limits=(0, 40, 0))
    time.sleep(2)
    equal(box.sh("echo alive")["out"], b"alive\n") # beside it
    agent.send(KILL) # or it would go on, as what a leader leaves behind does
    r = agent.result(lambda b: None, lambda b: None)
    equal((r["how"], r["signo"], r["flags"] & (PIDS_LIMIT | LEFTOVER)), (SIGNALED, 9, PIDS_LIMIT))
    equal(processes(box, "bomb"), 0)


def a_terminal_has_size_and_job_control(box):
    agent = Agent(box.vsock)
    agent.exec(["sh", "-c", "stty size; trap 'stty size; exit 3' WINCH; echo up; while :; do sleep 0.1; done"],
               tty=(43, 132), flags=FLAG_STDIN | FLAG_STDOUT)
    out = b""
    while not out.endswith(b"up\r\n"):
        kind, data = agent.next()
        out += data if kind == STDOUT else b""
    agent.send(RESIZE, struct.pack("<HH", 50, 90))
    got = bytearray()
    r = agent.result(got.extend, None)
    equal((out, bytes(got), r["code"]), (b"43 132\r\nup\r\n", b"50 90\r\n", 3))

    agent = Agent(box.vsock)
    agent.exec(["sh", "-i"], tty=(24, 80), flags=FLAG_STDIN | FLAG_STDOUT)
    agent.send(STDIN, b"sleep 1000\n")
    time.sleep(2)
    agent.send(STDIN, b"\x03")
    agent.send(STDIN, b"echo code=$?; exit 5\n")
    got = bytearray()
    r = agent.result(got.extend, None)
    equal(r["code"], 5)
    assert b"code=130" in got, bytes(got)


def stdin_of_megabytes_is_whole(box):
    agent = Agent(box.vsock)
    agent.exec(["sha256sum"], flags=FLAG_STDIN | FLAG_STDOUT)
    data = os.urandom(2 << 20)
    sent, credit = 0, 65536
    out = bytearray()
    while sent < len(data):
        while credit == 0:
            kind, payload = agent.next()
            if kind == 0x19:
                credit += struct.unpack_from("<BxxxI", payload)[1]
        n = min(credit, 65536, len(data) - sent)
        agent.send(STDIN, data[sent:sent + n])
        sent, credit = sent + n, credit - n
    agent.send(STREAM_EOF, b"\0")
    agent.result(out.extend, None)
    import hashlib
    equal(out.split()[0].decode(), hashlib.sha256(data).hexdigest())


def a_detached_execution_outlives_its_client(box):
    exec_id = box.detach("echo early; sleep 1; echo late; echo err >&2; exit 5")
    item = [i for i in Agent(box.vsock).list() if i["id"] == exec_id][0]
    equal((item["state"], item["what"] & 1, item["command"][:16]), (1, 1, "sh -c echo early"))
    for _ in range(2):  # while it runs, and after its end
        r = box.watch(exec_id)
        equal((r["out"], r["err"], r["how"], r["code"], r["skipped"]),
              (b"early\nlate\n", b"err\n", EXITED_HOW, 5, [0, 0, 0]))
    equal(Agent(box.vsock).remove(exec_id)["code"], 5)
    r = box.watch(exec_id)
    equal((r["error"], r["errno"]), (13, 2))


def what_a_detached_execution_could_not_keep_is_told(box):
    exec_id = box.detach("head -c 1000000 /dev/zero; printf tail", backlog=4096)
    while [i for i in Agent(box.vsock).list() if i["id"] == exec_id][0]["state"] == 1:
        time.sleep(0.1)
    r = box.watch(exec_id)
    equal((len(r["out"]), r["out"][-4:], r["skipped"][1]), (4096, b"tail", 1000004 - 4096))
    equal(Agent(box.vsock).remove(exec_id)["code"], 0)


def a_detached_tree_is_killed_and_removed(box):
    exec_id = box.detach("trap '' TERM; (setsid sleep 1000 &); sleep 1000 & sleep 1000; sleep 1000")
    equal(Agent(box.vsock).remove(exec_id)["errno"], 16)
    r = Agent(box.vsock).remove(exec_id, kill=True)
    equal((r["how"], r["signo"]), (SIGNALED, 9))
    equal(processes(box, "sleep"), 0)
    equal([i for i in Agent(box.vsock).list() if i["id"] == exec_id], [])


def sixty_four_at_once_and_nothing_grows(box):
    count = "ls /proc/1/fd | wc -l; ls /sys/fs/cgroup/cubby | grep -c '^[0-9]'"
    before = box.sh(count)["out"]
    agents = []
    for i in range(64):
        agents.append(Agent(box.vsock))
        agents[-1].exec(["sh", "-c", "echo %d; exit %d" % (i, i)])
    for i, agent in enumerate(agents):
        out = bytearray()
        r = agent.result(out.extend, None)
        equal((bytes(out), r["code"]), (b"%d\n" % i, i))
        agent.sock.close()
    time.sleep(1)
    equal(box.sh(count)["out"], before)


def shutdown_stops_what_resists_and_says_bye(box):
    agent = Agent(box.vsock)
    agent.exec(["sh", "-c", "trap '' TERM; sleep 1000 & sleep 1000; sleep 1000"])
    while agent.next()[0] != STARTED:
        pass
    frames, code = box.stop(grace_ms=300)
    equal((frames[-1][0], frames[-1][1][0], code), (BYE, 1, 0))
    text = box.console_text()
    assert not [w for w in ("WARNING", "BUG:", "Call Trace", "cubby init error") if w in text], text


SHARED = [ready_tells_versions_kernel_and_marks, streams_and_code_are_kept_apart,
          a_process_starts_as_the_contract_says, file_systems_are_where_they_belong, names_and_loopback_are_there,
          failures_to_start_have_their_stage, another_user_is_that_user, signals_end_as_sent,
          a_timeout_takes_the_whole_tree, who_ignores_sigterm_is_killed,
          kill_takes_double_forked_and_stopped_children, a_client_that_leaves_takes_its_tree_along,
          left_behind_children_do_not_delay, a_memory_limit_is_told_and_kept, an_inner_oom_is_told_with_the_code,
          pid_1_survives_a_hog_without_limits, a_fork_bomb_meets_its_limit, a_terminal_has_size_and_job_control,
          stdin_of_megabytes_is_whole, a_detached_execution_outlives_its_client,
          what_a_detached_execution_could_not_keep_is_told, a_detached_tree_is_killed_and_removed, files_come_and_go,
          files_do_not_leave_their_place, sixty_four_at_once_and_nothing_grows,
          shutdown_stops_what_resists_and_says_bye]


# --- boxes of their own ---

def boxed(test, *args, **kwargs):
    box = Box(*args, **kwargs)
    try:
        return test(box)
    finally:
        box.close()


def a_disk_keeps_what_is_written_and_stays_clean():
    disk = TEMP + "/upper.ext4"
    subprocess.run(["truncate", "-s", "64M", disk], check=True)
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", disk], check=True)
    wanted = "cubby.root=/dev/vda cubby.upper=/dev/vdb cubby.hostname=keeper"

    def write(box):
        equal(box.ready().sh("echo kept >/root/file; rm /etc/shells; sleep 1000 & ")["code"], 0)
        equal(box.stop()[1], 0)

    def read(box):
        r = box.ready().sh("cat /root/file; ls /etc/shells; hostname")
        equal((r["out"], b"No such" in r["err"]), (b"kept\nkeeper\n", True))
        equal(box.stop()[1], 0)

    for test in (write, read):
        boxed(test, wanted, upper=disk)
        check = subprocess.run(["/sbin/e2fsck", "-fn", disk], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        equal(check.returncode, 0)
        assert b"journal" not in check.stdout, check.stdout


def power_off_from_inside_is_a_clean_end():
    def test(box):
        agent = Agent(box.ready().vsock)
        agent.exec(["sh", "-c", "kill -USR2 1; sleep 1000"])
        kind, payload = box.control.next()
        equal((kind, payload[0]), (BYE, 2))
        box.control.sock.close()
        equal(box.wait(), 0)
    boxed(test)


def killing_pid_1_is_not_possible():
    def test(box):
        box.ready()
        equal(box.sh("kill -9 1; kill -SEGV 1; kill -STOP 1; echo tried")["out"], b"tried\n")
        equal(box.sh("echo alive")["out"], b"alive\n")
    boxed(test)


def a_boot_that_cannot_be_says_why():
    for cmdline, why in (("cubby.root=/dev/vdz", "phase 'root': there is no device '/dev/vdz'"),
                         ("cubby.root=/dev/vda cubby.upper=/dev/vda", "phase 'root': cannot mount '/dev/vda'"),
                         ("cubby.root=/dev/vda cubby.nosuch=1", "'cubby.nosuch=1' is not understood")):
        def test(box):
            code = box.wait()
            assert why in box.console_text(), box.console_text()
            equal(code, 11)
        boxed(test, cmdline)


def without_a_root_the_initramfs_serves():
    def test(box):
        equal(box.ready().exec(["/bin/sh"])["error"], 11)
        equal(box.stop()[1], 0)
    boxed(test, "")


OWN = [a_disk_keeps_what_is_written_and_stays_clean, power_off_from_inside_is_a_clean_end,
       killing_pid_1_is_not_possible, a_boot_that_cannot_be_says_why, without_a_root_the_initramfs_serves]


def last_words():
    """What the newest box's console and VMM said at the end."""
    said = ""
    for name in ("console", "vmm.log"):
        try:
            with open(TEMP + "/box/" + name, "rb") as f:
                said += "%s: %s\n" % (name, f.read().decode(errors="replace")[-1500:])
        except OSError as error:
            said += "%s\n" % error
    return said


def main():
    print("1..%d" % (len(SHARED) + len(OWN)), flush=True)
    box = Box()
    failed, count = 0, 0
    for test in SHARED + OWN:
        count += 1
        why = None
        try:
            if count == 1:
                box.ready()
            test(box) if test in SHARED else test()
        except Exception as error: # pylint: disable=broad-except
            why = "%s: %s" % (type(error).__name__, error)
            failed += 1
        for line in (why + "\n" + last_words() if why else "").splitlines()[:60]:
            print("# " + line)
        print("%s %d - %s" % ("not ok" if why else "ok", count, test.__name__.replace("_", " ")), flush=True)
        if test is SHARED[-1]:
            box.close()
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
