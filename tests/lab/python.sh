#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 1500
# The Python package as its wheel brings it, with real guests: programs as people write them, against python:slim of a
# real registry, and what can only be seen in a real guest.
set -u
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"
unset CUBBY_ASSETS CUBBY_LIBRARY # the wheel has all
site=$T/site
export PYTHONPATH=$site PYTHONDONTWRITEBYTECODE=1
programs=tests/python/tutorial

installs() {
  python3 -m pip install -q --no-index --no-deps --no-compile --root-user-action=ignore --target "$site" "$B"/cubby-*.whl &&
    python3 -m cubby version | grep -F "$site/cubby/_native/libcubby.so.1" && python3 -m cubby doctor >"$T/o" &&
    grep -x 'this host can run boxes' "$T/o"
}

# What a program prints is in a file beside it, for Python and for C; nothing on stderr, nothing left.
prints() { # NAME COMMAND…
  local name=$1
  shift
  "$@" >"$T/got" 2>"$T/err" </dev/null || { echo "exit code $?"; cat "$T/got" "$T/err"; return 1; }
  diff "$programs/$name.txt" "$T/got" && { [ ! -s "$T/err" ] || { cat "$T/err"; return 1; }; } && nothing_left
}
in_python() { prints "$1" python3 -W error "$programs/$1.py"; }
in_c() { prints "$1" "$B/examples/tutorial/$1"; }

with_log() { # VARIABLE VALUE
  env "$1=$2" python3 "$programs/exit_codes.py" >"$T/got" 2>"$T/err" </dev/null || { cat "$T/err"; return 1; }
  diff "$programs/exit_codes.txt" "$T/got" || return 1
  for topic in vmm box exec; do
    grep -qE "(^|[^a-z])$topic([^a-z]|$)" "$T/err" || { echo "no line about $topic:"; cat "$T/err"; return 1; }
  done
}
log_of_a_pull() { # in another home
  CUBBY_HOME=$T/other RUST_LOG=debug python3 -c '
from cubby import SyncBoxlite
SyncBoxlite.default().images.pull("python:slim")' 2>"$T/err" || { cat "$T/err"; return 1; }
  for topic in image net; do
    grep -qE "(^|[^a-z])$topic([^a-z]|$)" "$T/err" || { echo "no line about $topic:"; cat "$T/err"; return 1; }
  done
}

# Each of these is a function of the program, named by its statement.
statement() { python3 tests/python/guests.py "$1" >"$T/got" 2>&1 </dev/null || { cat "$T/got"; return 1; } && nothing_left; }

registry
plan 22
check 'the wheel is installed, and this host can run boxes' installs
check 'T1 T2 T3: exit_codes' in_python exit_codes
check 'T6 T7 T8 T19: exceptions' in_python exceptions
check 'T9: timeout' in_python timeout
check 'T10: timeout_helper' in_python timeout_helper
check 'T11 T15: timeout_kill' in_python timeout_kill
check 'T12 T13: stream_stderr' in_python stream_stderr
check 'in C: exit_codes' in_c exit_codes
check 'in C: exceptions' in_c exceptions
check 'in C: timeout' in_c timeout
check 'in C: timeout_helper' in_c timeout_helper
check 'in C: timeout_kill' in_c timeout_kill
check 'in C: stream_stderr' in_c stream_stderr
check 'T14: RUST_LOG=debug' with_log RUST_LOG debug
check 'T14: RUST_LOG=boxlite=debug' with_log RUST_LOG boxlite=debug
check 'T14: a pull and its network' log_of_a_pull
check 'T16b: memory that runs out, and more of it' statement out_of_memory
check 'T16d: a VM that is killed under a command' statement killed_vm
check 'T9: what is given up is gone when the box is' statement given_up_is_gone
check 'copies into a tmpfs and a disk, and out again' statement copies
check 'ten boxes at once' statement ten_at_once
check 'without an event loop' statement synchronous
