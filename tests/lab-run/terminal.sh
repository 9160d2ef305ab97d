#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 300
# The lab at a terminal: it has one too, of the same size, and the caller's is
# put back as it was.
# shellcheck source=tests/lab-run/tap.bash disable=SC1091,SC2154,SC2086 # rc, out, err, tmp come from there
. "$(dirname -- "$0")/tap.bash"

mkfifo "$tmp/keys"
exec 8<>"$tmp/keys" # never ends, so that script(1) types nothing of its own
cat >"$tmp/session" <<'END'
stty rows 33 cols 99
before=$(stty -g)
lab/run --nested -- sh -c 'tty; stty size; read -r line; echo "read $line"; sleep 100'
echo "code $?"
[ "$before" = "$(stty -g)" ] && echo restored
END
timeout 60 script -qec "sh $tmp/session" /dev/null <"$tmp/keys" >"$tmp/typescript" 2>&1 &
pid=$!
for ((i = 0; i < 300; i++)); do
	grep -q '33 99' "$tmp/typescript" && break
	sleep 0.1
done
printf 'typed\r' >&8
for ((i = 0; i < 100; i++)); do
	grep -q 'read typed' "$tmp/typescript" && break
	sleep 0.1
done
printf '\003' >&8
wait $pid
ok "a terminal inside" grep -q '^/dev/pts/' "$tmp/typescript"
ok "of the same size" grep -q '33 99' "$tmp/typescript"
ok "that takes input" grep -q 'read typed' "$tmp/typescript"
ok "Ctrl-C reaches the command" grep -q 'code 130' "$tmp/typescript"
ok "the terminal is restored" grep -q restored "$tmp/typescript"

done_testing
