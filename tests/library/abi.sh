#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What programs rely upon in libcubby is what tests/library/abi.txt says, and the list would notice a change.
# shellcheck source=tests/tap.bash
. "$(dirname "$0")/../tap.bash"

list=tests/library/abi.txt

holds() { # what differs, and what to do then, is in the head of abi.py
  tests/library/abi.py >"$t/now" && diff "$list" "$t/now"
}
of_header() { grep '^function ' "$list" | grep -o 'cubby_[a-z0-9_]*(' | tr -d '(' | sort; }
shared() { diff <(of_header) <(nm -D --defined-only build/libcubby.so.1 | sed -n 's/.* \(.*\)@@CUBBY_1$/\1/p' | sort); }
nothing_else_shared() { ! nm -D --defined-only build/libcubby.so.1 | grep -vE '@@CUBBY_1$| A CUBBY_1$'; }
static() { diff <(of_header) <(nm -g --defined-only build/libcubby.a | awk 'NF == 3 { print $3 }' | sort); }
soname() { readelf -d build/libcubby.so.1 | grep -F 'soname: [libcubby.so.1]' && ! readelf -d build/libcubby.so.1 | grep TEXTREL; }

noticed() { # NAME SED-COMMAND LINE: of the list that must go
  sed "$2" include/cubby.h >"$t/cubby.h"
  if cmp include/cubby.h "$t/cubby.h"; then echo "$1: nothing changed" && return 1; fi
  tests/library/abi.py "$t/cubby.h" >"$t/then" || return 1
  diff "$list" "$t/then" | grep -F "< $3" || { echo "$1 is not noticed"; return 1; }
}
changes_are_noticed() {
  noticed 'a function that goes' 's/^CUBBY_API int cubby_exec_kill(.*//' 'function int cubby_exec_kill(' &&
    noticed 'a parameter' '/ cubby_exec_signal(/s/int signo/long signo/' 'function int cubby_exec_signal(' &&
    noticed 'a type of the same size' 's/int64_t used_at/uint64_t used_at/' 'struct cubby_image: at 56: int64_t used_at' &&
    noticed 'a member in between' 's/^ *unsigned boot_timeout_ms/int more; &/' 'struct cubby_box_options: at 40' &&
    noticed 'an enumerator' 's/^ *CUBBY_STOPPING,/CUBBY_SLEEPING, &/' 'enum cubby_state: CUBBY_STOPPED 4' &&
    noticed 'a flag' 's/\(define CUBBY_EXEC_TTY .*\)0x8u/\10x80u/' 'number CUBBY_EXEC_TTY 0x8u'
}

echo 1..6
check 'the list of tests/library/abi.txt holds' holds
check 'libcubby.so.1 exports all functions of the header, with their version' shared
check 'and nothing else' nothing_else_shared
check 'libcubby.a has the same, and nothing else' static
check 'its name is libcubby.so.1, and its code needs no relocation' soname
check 'the list notices changes' changes_are_noticed
