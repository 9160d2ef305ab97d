#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 900
# cubby run: what a command in a virtual machine gives back is what a local process would.
# shellcheck disable=SC2016  # the guest's shell expands
set -u
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"

streams_and_code() {
  code_is 7 run -- sh -c 'echo out; echo err >&2; exit 7' >"$T/o" 2>"$T/e" || { cat "$T/e"; return 1; }
  [ "$(cat "$T/o")" = out ] && [ "$(cat "$T/e")" = err ]
}
not_found() { refused 127 "nosuch.*not found" run -- nosuch; }
not_executable() { refused 126 "/etc/passwd" run -- /etc/passwd; }
shell_127() {
  code_is 127 run -- sh -c nosuch 2>"$T/e"
  grep 'sh: nosuch: not found' "$T/e" # the guest's shell says it, not cubby
}
signal_137() { code_is 137 run -- sh -c 'kill -9 $$'; }
timeout_124() { code_is 124 run --timeout 1s -- sleep 600; }
timeout_takes_children() { code_is 124 run --timeout 1s -- sh -c 'sleep 600 & (setsid sleep 600 &) ; exec sleep 600'; }
sigterm_ignored() { code_is 124 run --timeout 500ms -- sh -c 'trap "" TERM; while :; do sleep 1; done'; }
child_holds_the_pipe() { # "done" and 0 at once, although the child lives on
  local begun=$SECONDS
  [ "$(run -- sh -c 'sleep 1000 & echo "done"')" = "done" ] && [ $((SECONDS - begun)) -lt 30 ]
}
stdin_closed_early() { # cubby is not ended by SIGPIPE, and does not go on reading
  head -c 50M /dev/zero | "$B/cubby" run -i -- head -c 3 >"$T/o"
  local codes="${PIPESTATUS[*]}"
  echo "exit codes: $codes"
  [ "${codes#* }" = 0 ] && [ "$(wc -c <"$T/o")" = 3 ]
}
says() { grep -F -- "$1" "$T/e" || { cat "$T/e"; return 1; }; }
fork_bomb() {
  code_is 124 run --pids-limit 40 --timeout 3s -- sh -c 'bomb() { bomb | bomb & }; bomb; exec sleep 600' 2>"$T/e" || { cat "$T/e"; return 1; }
  says 'reached its --pids-limit of 40'
}
pids_refused() { # the shell itself ends when it cannot fork
  code_is 2 run --pids-limit 20 -- sh -c 'i=0; while [ $i -lt 50 ]; do sleep 60 & i=$((i + 1)); done' 2>"$T/e" || { cat "$T/e"; return 1; }
  says 'reached its --pids-limit of 20' && says 'Resource temporarily unavailable'
}
hog='x=aaaaaaaa; while :; do x=$x$x; done'
memory_limit() {
  code_is 137 run --memory-limit 32M -- sh -c "$hog" 2>"$T/e" || { cat "$T/e"; return 1; }
  says 'the command was killed: it reached its --memory-limit of 32 MiB'
}
memory_limit_inside() { # what runs beside the victim goes on: the box is usable
  [ "$(run --memory-limit 32M -- sh -c "sh -c '$hog'; echo \$?; echo alive" 2>"$T/e")" = $'137\nalive' ] || { cat "$T/e"; return 1; }
  says 'a process of the command was killed: it reached its --memory-limit'
}
memory_of_the_box() {
  code_is 137 run --memory 64M -- sh -c "$hog" 2>"$T/e" || { cat "$T/e"; return 1; }
  says 'the box ran out of memory'
}
limits_visible() {
  run --memory-limit 48M --pids-limit 30 --cpu-limit 0.5 --ulimit nofile=100:200 --ulimit core=0 --ulimit stack=unlimited -- sh -c '
    cd "/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)" && cat memory.max pids.max cpu.max
    ulimit -n; ulimit -Hn; ulimit -c; ulimit -s' | tee "$T/o"
  [ "$(cat "$T/o")" = $'50331648\n30\n50000 100000\n100\n200\n0\nunlimited' ]
}
digest_of_stdin() {
  head -c 64M /dev/urandom >"$T/f"
  [ "$(run -i -- sha256sum <"$T/f" | cut -d' ' -f1)" = "$(sha256sum <"$T/f" | cut -d' ' -f1)" ]
}
both_streams_whole() {
  run -- sh -c 'head -c 100000000 /dev/zero; head -c 50000000 /dev/zero >&2' 2> >(wc -c >"$T/e") | wc -c >"$T/o"
  for _ in $(seq 50); do [ -s "$T/e" ] && break; sleep 0.1; done
  [ "$(cat "$T/o")" = 100000000 ] && [ "$(cat "$T/e")" = 50000000 ]
}
four_cpus() { [ "$(run --cpus 4 --memory 512 -- nproc)" = 4 ]; }
six_gib() {
  local mib
  mib=$(run --memory 6144 -- free -m | awk '/^Mem:/ { print $2 }')
  echo "$mib MiB"
  [ "$mib" -gt 5800 ]
}
no_stdin_is_empty() { [ "$(echo surprise | run -- cat | wc -c)" = 0 ]; }
environment() { [ "$(run --env A=1 --env 'B=x y' --workdir /tmp -- sh -c 'echo "$A,$B,$PWD"')" = "1,x y,/tmp" ]; }
other_user() { [ "$(run --user nobody -- id -u)" = 65534 ]; }
folder_as_root() {
  mkdir -p "$T/root/bin" "$T/root/data"
  cp /usr/bin/busybox "$T/root/bin/busybox"
  ln -sf busybox "$T/root/bin/cat"
  echo 'from the folder' >"$T/root/data/note"
  [ "$(run --rootfs "$T/root" -- /bin/cat /data/note)" = 'from the folder' ]
}
image_as_root_is_not_written() {
  cp "$B/default.ext4" "$T/img.ext4"
  local before
  before=$(sha256sum "$T/img.ext4")
  run --rootfs "$T/img.ext4" -- sh -c 'echo gone >/note && cat /note' && [ "$(sha256sum "$T/img.ext4")" = "$before" ]
}
what_programs_expect() {
  run -- sh -c 'set -e
    test -c /dev/null; test -d /proc/self; test -d /sys/class; grep -q " /sys/fs/cgroup " /proc/mounts; grep -q " /dev/pts " /proc/mounts
    test -d /dev/shm; echo x >/tmp/x; echo x >/root/x; ping -c1 -w2 127.0.0.1 >/dev/null; test "$(hostname)" != "(none)"
    grep -q localhost /etc/hosts; test "$(date +%Y)" -ge 2024; test "$(id -u)" = 0; head -c 16 /dev/random | wc -c | grep -q 16'
}
quiet_kernel() { # a boot without a single warning, seen in the whole kernel log
  run -- dmesg >"$T/dmesg" || return 1
  grep -q 'Linux version' "$T/dmesg" || { echo "no kernel log"; return 1; }
  ! grep -E 'WARNING|BUG:|Oops|Call Trace|cut here|I/O error' "$T/dmesg"
}
few_exits() { # from the VMM's first instruction to its end, which is more than until the agent is ready
  run --timeline "$T/timeline" -- true || return 1
  cat "$T/timeline"
  local exits
  exits=$(tr -d ' \n' <"$T/timeline" | grep -oE '"exits":\{"total":[0-9]+' | grep -oE '[0-9]+$')
  echo "exits: $exits"
  [ -n "$exits" ] && [ "$exits" -lt 400 ]
}

plan 29
check 'stdout, stderr and the exit code come back apart' streams_and_code
check 'a command that is not there: 127' not_found
check 'a file that cannot be executed: 126' not_executable
check "127 of the guest's shell is the command's own" shell_127
check 'a command that signal 9 ended: 137' signal_137
check 'a timeout: 124' timeout_124
check 'a timeout takes children along' timeout_takes_children
check 'a timeout ends what ignores SIGTERM' sigterm_ignored
check 'a child that holds the pipe does not delay the end' child_holds_the_pipe
check 'a command that closes its stdin early ends well' stdin_closed_early
check 'a fork bomb meets --pids-limit, and is told and ended' fork_bomb
check 'a fork that --pids-limit refuses is told' pids_refused
check "a hog ends by --memory-limit: 137, and it was the command's own" memory_limit
check 'a hog among other processes takes none of them along' memory_limit_inside
check "a hog without a limit ends by the box's memory, which is told" memory_of_the_box
check 'the limits are in force, and seen' limits_visible
check '64 MiB of random bytes reach stdin unchanged' digest_of_stdin
check '100 MB of stdout and 50 MB of stderr arrive whole' both_streams_whole
check 'four CPUs' four_cpus
check 'six GiB of memory' six_gib
check 'without -i the command reads an empty stdin' no_stdin_is_empty
check 'environment and working folder' environment
check 'another user' other_user
check 'a folder as the root file system' folder_as_root
check 'an image as the root file system is not written to' image_as_root_is_not_written
check 'the guest has what programs expect' what_programs_expect
check "the kernel's log has no warning" quiet_kernel
check 'fewer than 400 exits in the whole life of a box' few_exits
check 'nothing is left behind' nothing_left
