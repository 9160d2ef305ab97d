# SPDX-License-Identifier: Apache-2.0
"""Many executions in one real box, and what PID 1 needs for them. Prints TAP, the numbers from 7 on.

    python3 exec_tests.py BUILD_FOLDER TEMPORARY_FOLDER
"""
import hashlib
import sys
import time

import box_tests
from agent_client import CREDIT, ERROR, EXITED, FLAG_STDIN, FLAG_STDOUT, STARTED, STDERR, STDIN, STREAM_EOF, Agent
from box_tests import EXITED_HOW, SIGNALED, Box, equal

MEMORY_BOUND = 4 << 20
FIRST = 7


def pid_1(box):
    """Its resident memory in bytes, its descriptors, and the groups of executions."""
    r = box.sh("sleep 0.3; grep VmRSS /proc/1/status; ls /proc/1/fd | wc -l; ls -d /sys/fs/cgroup/cubby/*/ | wc -l")
    words = r["out"].split()
    return int(words[1]) * 1024, int(words[3]), int(words[4])


def nothing_grew(box, before):
    memory, descriptors, groups = pid_1(box)
    equal((descriptors, groups), before[1:])
    assert memory < before[0] + MEMORY_BOUND, (before[0], memory)


def a_hundred_in_sequence_leave_nothing(box):
    for _ in range(20):
        box.exec(["true"])
    before = pid_1(box)
    for i in range(100):
        r = box.exec(["true"])
        equal((r["how"], r["code"], r["flags"], i), (EXITED_HOW, 0, 0, i))
    nothing_grew(box, before)


def two_hundred_and_fifty_six_at_once_leave_nothing(box):
    before = pid_1(box)
    agents = []
    for i in range(256):
        agents.append(Agent(box.vsock))
        agents[-1].exec(["cat"], flags=FLAG_STDIN | FLAG_STDOUT)
    for i, agent in enumerate(agents):
        out = bytearray()
        agent.send(STDIN, b"%d" % i)
        agent.send(STREAM_EOF, b"\0")
        r = agent.result(out.extend, None)
        equal((bytes(out), r["how"], r["code"]), (b"%d" % i, EXITED_HOW, 0))
        agent.sock.close()
    time.sleep(1)
    nothing_grew(box, before)


def exit_codes_and_signals_are_told_as_sent(box):
    for code in list(range(0, 256, 51)) + [125, 126, 127, 128, 137]:
        r = box.sh("exit %d" % code)
        equal((r["how"], r["code"], r["signo"]), (EXITED_HOW, code, 0))
    for signo in (1, 4, 6, 8, 10, 13, 14, 31, 34, 64):  # BusyBox's shell ignores SIGQUIT
        r = box.sh("kill -%d $$; exit 99" % signo)
        equal((r["how"], r["code"], r["signo"]), (SIGNALED, 0, signo))


def memory_is_bounded_while_nobody_reads(box):
    before = pid_1(box)
    agent = Agent(box.vsock)
    agent.exec(["sh", "-c", "cat /dev/zero & head -c 8000000 /dev/zero >&2; echo >&2; wait"])
    got, digest = 0, hashlib.sha256()
    while got < 8000001:
        kind, data = agent.next()
        if kind == STDERR:
            got += len(data)
            digest.update(data)
            agent.credit(2, len(data))
        assert kind not in (EXITED, ERROR), hex(kind)
    nothing = hashlib.sha256(bytes(8000000) + b"\n")
    equal(digest.hexdigest(), nothing.hexdigest())
    memory = pid_1(box)[0]
    assert memory < before[0] + MEMORY_BOUND, (before[0], memory)
    agent.sock.close()


def who_reads_late_gets_all_and_the_result(box):
    agent = Agent(box.vsock)
    agent.exec(["head", "-c", str(CREDIT - 1), "/dev/zero"])
    while agent.next()[0] != STARTED:
        pass
    time.sleep(8)
    got = bytearray()
    r = agent.result(got.extend, None)
    equal((len(got), r["how"], r["code"]), (CREDIT - 1, EXITED_HOW, 0))


def a_result_that_nobody_fetches_holds_up_nothing(box):
    agents = []
    for _ in range(50):
        agents.append(Agent(box.vsock))
        agents[-1].exec(["true"])
    equal(box.exec(["true"])["code"], 0)
    for agent in agents:
        agent.sock.close()


TESTS = [a_hundred_in_sequence_leave_nothing, two_hundred_and_fifty_six_at_once_leave_nothing,
         exit_codes_and_signals_are_told_as_sent, memory_is_bounded_while_nobody_reads,
         who_reads_late_gets_all_and_the_result, a_result_that_nobody_fetches_holds_up_nothing]


def main():
    box = Box(memory=256).ready()
    for number, test in enumerate(TESTS, FIRST):
        why = ""
        start = time.time()
        try:
            test(box)
        except Exception as error: # pylint: disable=broad-except
            why = "%s: %s\n%s" % (type(error).__name__, error, box_tests.last_words())
        for line in why.splitlines()[:60]:
            print("# " + line)
        print("# %.1f s" % (time.time() - start))
        print("%s %d - %s" % ("not ok" if why else "ok", number, test.__name__.replace("_", " ")), flush=True)
    box.stop()
    box.close()


if __name__ == "__main__":
    sys.exit(main())
