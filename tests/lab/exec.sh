#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 300
# Executions in real guests, as hard as the lab's time allows: both streams at once, readers that do not read, a VMM that
# is killed in the middle, hundreds of executions in one box. Full sizes are native (tests/guest-init/volume.sh).
# shellcheck disable=SC2016  # the guest's shell expands
set -u
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"

# 4 MB of random bytes on each stream at once; their digests, made in the guest, follow on stdout.
random_on_both() {
  run -- sh -c 'for i in 1 2; do head -c 4000000 /dev/urandom >/tmp/$i; done; cat /tmp/1 & cat /tmp/2 >&2; wait
    exec sha256sum /tmp/1 /tmp/2' >"$T/o" 2>"$T/e" || return 1
  head -c 4000000 "$T/o" | sha256sum >"$T/sums" && sha256sum <"$T/e" >>"$T/sums"
  tail -c +4000001 "$T/o"
  [ "$(cut -c1-64 "$T/sums")" = "$(tail -c +4000001 "$T/o" | cut -c1-64)" ]
}

# Nobody reads stdout before all of stderr has come.
stderr_is_whole() { [ "$(tail -c 4 "$T/e")" = end ]; }
stdout_ignored() {
  run -- sh -c 'head -c 20000000 /dev/zero & head -c 5000000 /dev/zero >&2; echo end >&2; wait' 2>"$T/e" | {
    for _ in $(seq 300); do stderr_is_whole && break; sleep 0.1; done
    stderr_is_whole && wc -c
  } >"$T/o"
  cat "$T/o"
  [ "$(cat "$T/o")" = 20000000 ] && [ "$(wc -c <"$T/e")" = 5000004 ]
}

byte_a_second() {
  run -- sh -c 'head -c 2000000 /dev/zero | tr "\0" x; echo end' | {
    for _ in 1 2 3; do dd bs=1 count=1 status=none; sleep 1; done
    cat
  } | sha256sum >"$T/o"
  [ "$(cat "$T/o")" = "$({ head -c 2000000 /dev/zero | tr '\0' x; echo end; } | sha256sum)" ]
}

# The command says "up" on stderr when it is in the middle of it. Then the VMM is killed, and cubby says so at once: within
# a second (tests/runtime/test_lost.c) on a machine that is not emulated.
killed_while() { # COMMAND OPTION…
  local command=$1 killed took
  shift
  : >"$T/e"
  head -c 1G /dev/zero | "$B/cubby" run "$@" -- sh -c "$command" >"$T/out" 2>"$T/e" &
  local cli=$!
  for _ in $(seq 600); do grep -q up "$T/e" && break; sleep 0.1; done
  sleep 0.5
  killed=$(date +%s%N)
  pkill -9 -x cubby-vmm
  code_is 125 wait $cli || { cat "$T/e"; return 1; }
  took=$((($(date +%s%N) - killed) / 1000000))
  tail -3 "$T/e"
  echo "$took ms"
  grep -q SIGKILL "$T/e" && [ $took -lt 3000 ] && nothing_left
}
many_in_one_box() { python3 -B tests/guest-init/exec_tests.py "$B" "$T"; }

plan 12
check '4 MB of random bytes on both streams at once, digests equal' random_on_both
check 'stdout that nobody reads holds up nothing but itself' stdout_ignored
check 'a reader of a byte a second gets every byte' byte_a_second
check 'the VMM killed while output pours' killed_while 'echo up >&2; exec cat /dev/zero'
check 'the VMM killed while stdin is written' killed_while 'echo up >&2; exec cat >/dev/null' -i
check 'the VMM killed while nothing happens' killed_while 'echo up >&2; exec sleep 600'
many_in_one_box
