#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 300
# What goes in and out of the lab: standard streams, their ends, exit codes.
# shellcheck source=tests/lab-run/tap.bash disable=SC1091,SC2154,SC2086 # rc, out, err, tmp come from there
. "$(dirname -- "$0")/tap.bash"

echo before >"$tmp/log"
timeout 120 lab/run --nested -- sh -c 'echo out; echo err >&2; exit 7' >>"$tmp/log" 2>"$tmp/err" </dev/null
is "exit code" $? 7
is "stdout appends to a file" "$(cat "$tmp/log")" $'before\nout'
is "stderr is apart" "$(cat "$tmp/err")" err

# All three streams at once, more than any buffer between holds, bytes of any value.
head -c 8000000 /dev/urandom >"$tmp/in"
# shellcheck disable=SC2002 # a pipe is meant
cat "$tmp/in" | timeout 120 lab/run --nested -- sh -c 'tee /dev/stderr; kill -9 $$' \
	2> >(cat >"$tmp/err2") | cat >"$tmp/out2"
is "128+N for a signal" "${PIPESTATUS[1]}" 137
ok "stdin and stdout byte for byte" cmp "$tmp/in" "$tmp/out2"
sleep 0.2
ok "stderr byte for byte" cmp "$tmp/in" "$tmp/err2"

start=$SECONDS
timeout 120 lab/run --nested -- yes 2>"$tmp/err" </dev/null | head -n 1 >"$tmp/out"
is "a reader that leaves ends the writer" "${PIPESTATUS[0]} $(cat "$tmp/out")" "141 y"
ok "and at once" [ $((SECONDS - start)) -lt 60 ]

lab -- sh -c 'sleep 1000 & echo started' </dev/null
is "what stays in the background is not waited for" "$rc $out" "0 started"

lab -- /no/such/command </dev/null
is "127 for a command that is not there" $rc 127
lab -- /etc/passwd </dev/null
is "126 for one that cannot be executed" $rc 126

done_testing
