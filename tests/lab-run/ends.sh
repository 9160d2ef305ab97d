#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 300
# Every way for a lab to end: each has its name and leaves nothing behind.
# shellcheck source=tests/lab-run/tap.bash disable=SC1091,SC2154,SC2086 # rc, out, err, tmp come from there
. "$(dirname -- "$0")/tap.bash"

in_background() { # ARGUMENT...: starts lab/run; sets pid and qemu, waits for "up" on its stdout
	mkfifo "$tmp/fifo"
	lab/run --nested "$@" >"$tmp/fifo" 2>"$tmp/err" </dev/null &
	pid=$!
	exec 9<"$tmp/fifo"
	read -r -t 60 up <&9
	qemu=$(qemu_of $pid)
	rm "$tmp/fifo"
}

lab --timeout 2 -- sh -c 'echo before; echo lost in thought >/dev/kmsg; sleep 100' </dev/null
is "a hang ends at --timeout" "$rc $out" "124 before"
ok "says so" grep -q '^lab: sh: no end after 2 s$' "$tmp/err"
ok "and shows the console" grep -q "^lab: the machine's console" "$tmp/err"

lab -- sh -c 'echo c >/proc/sysrq-trigger' </dev/null
is "a panic is 125" $rc 125
ok "says so" grep -q '^lab: .*kernel panicked' "$tmp/err"
ok "and shows it" grep -q 'lab: | .*sysrq' "$tmp/err"

in_background -- sh -c 'trap "echo bye; exit 3" TERM; echo up; while :; do sleep 0.1; done'
is "it runs" "$up" up
kill -TERM $pid
wait $pid
is "SIGTERM is passed on; the command's answer counts" "$? $(cat <&9)" "3 bye"
ok "QEMU is gone" gone "$qemu"

in_background -- sh -c 'trap "" INT TERM; echo up; while :; do sleep 0.1; done'
kill -TERM $pid
sleep 0.2
kill -TERM $pid
wait $pid
is "a second one ends a command that does not listen" $? 143
ok "QEMU is gone" gone "$qemu"

in_background -- sh -c 'echo up; sleep 100'
{ kill -KILL $pid && wait $pid; } 2>/dev/null # bash would say "Killed"
ok "kill -9 takes QEMU along" gone "$qemu"

in_background -- sh -c 'echo up; sleep 100'
kill -KILL "$qemu"
wait $pid
is "QEMU killed is 125" $? 125
ok "and says so" grep -q '^lab: QEMU was killed by signal 9' "$tmp/err"

done_testing
