#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 300
# What lab/run says to bad input; no machine is started here.
# shellcheck source=tests/lab-run/tap.bash disable=SC1091,SC2154,SC2086 # rc, out, err, tmp come from there
. "$(dirname -- "$0")/tap.bash"

refused() { # NAME PATTERN ARGUMENT...: one line on stderr that matches, exit code 125
	local name=$1 pattern=$2
	shift 2
	timeout 20 lab/run "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	is "$name" "$? $(wc -l <"$tmp/err") $(grep -c -e "$pattern" "$tmp/err")" "125 1 1"
}

refused "no command" "no command" --nested --
refused "an unknown option" "unknown option '--frob'" --frob -- true
refused "an option without its value" "needs a value" --mem
refused "memory that is not a number" "'lots' is not a number" --mem lots -- true
refused "no CPU" "'0' is not a number from 1" --cpus 0 -- true
refused "a leading zero is decimal, too small" "'08' is not" --mem 08 -- true
refused "a share that is not a folder" "not a directory" --share /etc/passwd -- true
refused "a share that is not there" "not a directory" --share /no/such -- true
CUBBY_LAB_QEMU=/no/qemu refused "QEMU missing: names the package" \
	"apt-get install qemu-system-x86" --nested -- true
CUBBY_LAB_MODE=maybe refused "an unknown mode" "neither native nor nested" -- true
XDG_CACHE_HOME=/proc/none refused "a cache that cannot be made" "cannot make the cache" --nested -- true

ok "help" sh -c 'lab/run --help | grep -q "^Usage: lab/run"'
# shellcheck disable=SC2016 # the other shell expands it
is "native runs here" "$(CUBBY_LAB_MODE=native lab/run -- sh -c 'echo $PPID')" $BASHPID
is "inside the lab, here too" "$(CUBBY_LAB=1 lab/run -- echo direct)" direct
lab/run --native --timeout 1 -- sleep 30
is "native keeps --timeout" $? 124

# The decision, with another's word for the probe guest's.
if [ -w /dev/kvm ]; then
	mkdir -p "$tmp/tree/build" "$tmp/run"
	cp -r lab "$tmp/tree/lab"
	printf '#!/bin/sh\necho probed >>%s; exit 0\n' "$tmp/probed" >"$tmp/tree/build/cubby-vmm"
	chmod +x "$tmp/tree/build/cubby-vmm"
	for _ in 1 2; do
		is "a KVM that works is used" "$(XDG_RUNTIME_DIR=$tmp/run "$tmp/tree/lab/run" -- echo here)" here
	done
	is "and is probed once" "$(cat "$tmp/probed")" probed
else
	echo "# /dev/kvm cannot be opened: the decision is not tested"
fi

done_testing
