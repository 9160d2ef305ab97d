#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 600
# cubby run between a caller and a guest: pipes that close, terminals, signals, guests that die, doctor.
# shellcheck disable=SC2016  # the guest's shell expands
set -u
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"

doctor_is_content() {
  "$B/cubby" doctor || return 1
  "$B/cubby" doctor --json | grep -q '"usable": true'
}
no_device() { # no /dev/kvm for this one command
  unshare -m sh -c 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 && exec "$@"' sh \
    "$B/cubby" run -- true
}
no_kvm_device() { refused 125 '/dev/kvm' no_device; }
forbidden_kvm() {
  chmod 0 /dev/kvm
  code_is 125 setpriv --reuid 65534 --clear-groups env XDG_RUNTIME_DIR=/nonexistent "$B/cubby" run -- true 2>"$T/err"
  local ret=$?
  chmod 666 /dev/kvm
  rm -rf /tmp/cubby-65534
  cat "$T/err"
  [ $ret = 0 ] && grep -q '/dev/kvm' "$T/err"
}
as_another_user() { # nothing of it needs root
  chmod 666 /dev/kvm
  code_is 5 setpriv --reuid 65534 --clear-groups env XDG_RUNTIME_DIR=/nonexistent "$B/cubby" run -- sh -c 'exit 5'
}
reader_leaves() {
  local codes
  run -- sh -c 'while :; do echo y; done' | head -n 2 >"$T/o"
  codes="${PIPESTATUS[*]}"
  echo "codes $codes"
  [ "$codes" = '141 0' ] && [ "$(cat "$T/o")" = "$(printf 'y\ny')" ]
}
slow_reader_gets_all() {
  run -- sh -c 'head -c 3000000 /dev/zero; echo end >&2' 2>"$T/e" | { sleep 3; wc -c; } >"$T/o"
  [ "$(cat "$T/o")" = 3000000 ] && [ "$(cat "$T/e")" = end ]
}
stdin_closed_early() { # by the command: the caller gets no SIGPIPE, and the command's code
  head -c 10000000 /dev/zero | code_is 3 run -i -- sh -c 'head -c 10 >/dev/null; exec <&-; exit 3'
}
without_standard_files() { code_is 4 "$B/cubby" run -- sh -c 'echo lost; exit 4' <&- >&- 2>&-; }
full_stdout() {
  code_is 125 run -- sh -c 'echo x' >/dev/full 2>"$T/err"
  grep 'cannot write to stdout: No space left' "$T/err"
}
terminal() { # of the size of ours, stdout and stderr in one, raw only while it runs
  command -v script >/dev/null || { echo 'script(1) is missing'; return 1; }
  script -qec "stty rows 43 cols 132; $B/cubby run -it -- sh -c 'stty size; tty; test -t 2 && echo both'; stty -a" /dev/null \
    </dev/null >"$T/o"
  cat "$T/o"
  grep -q '43 132' "$T/o" && grep -q /dev/pts/ "$T/o" && grep -q both "$T/o" && grep -qE '[^-]icanon' "$T/o"
}
signal_reaches() {
  "$B/cubby" run -- sh -c 'trap "echo got it; exit 9" TERM; echo up; while :; do sleep 0.1; done' >"$T/up" </dev/null &
  local cli=$!
  for _ in $(seq 600); do grep -q up "$T/up" && break; sleep 0.1; done
  kill -TERM $cli
  code_is 9 wait $cli && grep -q 'got it' "$T/up"
}
interrupted_while_booting() {
  "$B/cubby" run -- true 2>"$T/err" &
  local cli=$!
  for _ in $(seq 100); do pgrep -x cubby-vmm >/dev/null && break; sleep 0.05; done
  kill -INT $cli
  code_is 130 wait $cli && nothing_left
}
# PID 1 is a static program at 4 MiB: with zeros for its code it dies, and the kernel with it.
guest_panics() {
  code_is 125 run -- sh -c 'echo before; dd if=/dev/zero of=/proc/1/mem bs=4096 seek=1025 count=16 conv=notrunc 2>&1; sleep 60' \
    >"$T/o" 2>"$T/err"
  local ret=$?
  cat "$T/o" "$T/err"
  [ $ret = 0 ] && grep -qi 'panic' "$T/err" && grep -q '  | ' "$T/err" && grep -qx before "$T/o" && nothing_left
}
guest_powers_off() { code_is 143 run -- sh -c 'poweroff; sleep 60' && nothing_left; } # PID 1 sends SIGTERM to all first
guest_halts() { refused 125 'agent|lost|stopped' run -- sh -c 'poweroff -f; sleep 60'; }
boot_timeout() { refused 125 'not ready after 1 ms' run --boot-timeout 1ms -- true; }
full_tmpdir() {
  mkdir -p "$T/tree" "$T/tiny"
  head -c 3000000 /dev/urandom >"$T/tree/file"
  mount -t tmpfs -o size=1m none "$T/tiny"
  TMPDIR=$T/tiny refused 125 'TMPDIR' run --rootfs "$T/tree" -- true
  local ret=$?
  [ "$(find "$T/tiny" -type f | wc -l)" = 0 ] || ret=1
  umount -l "$T/tiny"
  return $ret
}
folder_leaves_no_image() {
  mkdir -p "$T/images" "$T/bb/bin"
  cp /usr/bin/busybox "$T/bb/bin/"
  TMPDIR=$T/images code_is 0 run --rootfs "$T/bb" -- /bin/busybox true && [ -z "$(ls -A "$T/images")" ]
}
many_at_once() {
  local i pids=()
  for i in 1 2 3 4; do
    run -- sh -c "exit $i" &
    pids+=($!)
  done
  for i in 1 2 3 4; do code_is "$i" wait "${pids[$((i - 1))]}" || return 1; done
  nothing_left
}
timeline_table() {
  run --timeline - -- true 2>"$T/err" || return 1
  cat "$T/err"
  grep -q '^spawn' "$T/err" && grep -q '^exec-result' "$T/err" && grep -q '^agent-ready' "$T/err" && grep -q '^user-space exits in all: ' "$T/err"
}

plan 22
check 'doctor finds this machine good' doctor_is_content
check 'no /dev/kvm' no_kvm_device
check '/dev/kvm is forbidden' forbidden_kvm
check 'a user who is not root' as_another_user
check 'a reader who leaves: the writer gets SIGPIPE, 141' reader_leaves
check 'a slow reader gets every byte' slow_reader_gets_all
check 'a command that closes its stdin early' stdin_closed_early
check 'a caller without stdin, stdout and stderr' without_standard_files
check 'a stdout that takes nothing is told' full_stdout
check 'a terminal for a terminal' terminal
check 'SIGTERM reaches the command, whose code counts' signal_reaches
check 'Ctrl-C while the box boots' interrupted_while_booting
check "a panic of the guest's kernel is told with its console" guest_panics
check 'a guest that powers itself off ends its command first' guest_powers_off
check 'a guest that halts without a word' guest_halts
check 'a boot that takes too long is given up' boot_timeout
check 'no space for the image of a folder' full_tmpdir
check 'the image of a folder has no name and is gone' folder_leaves_no_image
check 'four boxes at once' many_at_once
check 'the timeline as a table' timeline_table
check 'nothing is left behind' nothing_left
check 'no image is left in /tmp' sh -c '! ls /tmp/cubby-image-* 2>/dev/null'
