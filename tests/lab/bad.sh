#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 900
# cubby run with bad input and in bad luck: a line that says what, which, why; nothing left.
set -u
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"

kernel() { refused "$1" "$2" "$B/cubby" run --kernel "$3" -- true; }
cut_kernel() { head -c 100000 "$B/vmlinux" >"$T/cut" && kernel 125 "$T/cut" "$T/cut"; }
empty_kernel() { : >"$T/empty" && kernel 125 "$T/empty" "$T/empty"; }
text_kernel() { echo 'not a kernel' >"$T/text" && kernel 125 "$T/text" "$T/text"; }
elf32_kernel() { cp "$B/vmlinux" "$T/elf32" && printf '\001' | dd of="$T/elf32" bs=1 seek=4 conv=notrunc status=none && kernel 125 '32' "$T/elf32"; }
long_path() {
  local long
  long=$T/$(printf 'x%.0s' {1..110})
  mkdir -p "$long"
  XDG_RUNTIME_DIR=$long refused 125 '107|too long|shorter' run -- true
}
full_disk() {
  mkdir "$T/small" && mount -t tmpfs -o size=64k none "$T/small" && head -c 100k /dev/zero >"$T/small/fill" 2>/dev/null
  XDG_RUNTIME_DIR=$T/small refused 125 'No space' run -- true
  local ret=$?
  umount -l "$T/small"
  return $ret
}
start_long() { # a box whose command sleeps; sets $cli and $vmm
  "$B/cubby" run -- sh -c 'echo up; sleep 600' >"$T/up" 2>"$T/err" </dev/null &
  cli=$!

  for _ in $(seq 600); do
    grep -q up "$T/up" && break
    sleep 0.1
  done
  vmm=$(pgrep -x cubby-vmm)
  [ -n "$vmm" ]
}
vmm_killed() {
  start_long && kill -9 "$vmm"
  code_is 125 wait "$cli" || return 1
  cat "$T/err"
  grep -qE 'killed|signal 9|SIGKILL' "$T/err" && nothing_left
}
cli_killed() {
  start_long && kill -9 "$cli"
  wait "$cli"

  for _ in $(seq 100); do pgrep -x cubby-vmm >/dev/null || break; sleep 0.1; done
  ! pgrep -x cubby-vmm && run -- true && nothing_left # the next run sweeps the folder
}
interrupted() {
  start_long && kill -INT "$cli"
  wait "$cli"
  local got=$?
  echo "code $got"
  [ "$got" = 130 ] && nothing_left
}
interrupted_twice() {
  "$B/cubby" run -- sh -c 'trap "" INT TERM; echo up; while :; do sleep 600; done' >"$T/up" 2>"$T/err" </dev/null &
  cli=$!

  for _ in $(seq 600); do grep -q up "$T/up" && break; sleep 0.1; done
  kill -INT "$cli"
  sleep 0.7
  kill -INT "$cli"
  wait "$cli"
  local got=$?
  echo "code $got"
  [ "$got" -ge 125 ] && nothing_left
}

plan 22
check 'no kernel' kernel 125 "$T/none" "$T/none"
check 'an empty kernel' empty_kernel
check 'a kernel that was cut off' cut_kernel
check 'a kernel that is a text' text_kernel
check 'a kernel for 32 bits' elf32_kernel
check 'a folder as kernel' kernel 125 "$T" "$T"
check 'no CPUs' refused 125 'cpus|CPU' run --cpus 0 -- true
check 'a thousand CPUs' refused 125 'cpus|CPU' run --cpus 1000 -- true
check 'one MiB of memory' refused 125 'memory' run --memory 1 -- true
check 'a memory size that is none' refused 125 'memory' run --memory lots -- true
check 'a timeout that is none' refused 125 'timeout' run --timeout soon -- true
check 'no root file system' refused 125 "$T/none" run --rootfs "$T/none" -- true
check 'no command' refused 125 'command' run
check 'an option that is not known' refused 125 'nonsense' run --nonsense -- true
check 'a user who does not exist' refused 125 'nosuchuser' run --user nosuchuser -- true
check 'a working folder that does not exist' refused 125 '/no/such' run --workdir /no/such -- true
check 'a runtime folder whose path is too long' long_path
check 'no space for the box' full_disk
check 'the VMM is killed: the caller learns it' vmm_killed
check 'the CLI is killed: the machine goes with it' cli_killed
check 'Ctrl-C ends the command with 130' interrupted
check 'a second Ctrl-C ends a command that ignores the first' interrupted_twice
