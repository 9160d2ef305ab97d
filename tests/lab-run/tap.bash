# shellcheck shell=bash disable=SC2034 # rc, out, err: for the tests
# SPDX-License-Identifier: Apache-2.0
#
# TAP for the tests of the lab; sourced by each. Runs from the top folder.
set -u
cd "$(dirname -- "${BASH_SOURCE[0]}")/../.." || exit 1
unset CUBBY_LAB CUBBY_LAB_MODE
lab/run --prepare || exit 1 # not within a test: may fetch a kernel
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
tap_n=0 tap_failed=0

ok() { # NAME COMMAND...: a test that passes if COMMAND does
	local name=$1
	shift
	tap_n=$((tap_n + 1))
	if "$@"; then
		echo "ok $tap_n - $name"
	else
		echo "not ok $tap_n - $name"
		echo "# failed: $*"
		tap_failed=$((tap_failed + 1))
	fi
}

is() { # NAME GOT EXPECTED
	tap_n=$((tap_n + 1))
	if [ "$2" = "$3" ]; then
		echo "ok $tap_n - $1"
	else
		echo "not ok $tap_n - $1"
		printf '#      got: %q\n# expected: %q\n' "$2" "$3"
		tap_failed=$((tap_failed + 1))
	fi
}

done_testing() {
	echo "1..$tap_n"
	[ $tap_failed -eq 0 ]
}

# Runs lab/run nested with stdout and stderr in files; sets rc, out, err.
lab() {
	timeout -k 5 120 lab/run --nested "$@" >"$tmp/out" 2>"$tmp/err"
	rc=$?
	out=$(cat "$tmp/out")
	err=$(cat "$tmp/err")
}

# The lab-host that `lab/run` started in the background as $1 became has QEMU as
# its child. Waits until it has, and prints its pid.
qemu_of() {
	local pid try
	for ((try = 0; try < 300; try++)); do
		pid=$(pgrep -P "$1" -x qemu-system-x86) && echo "$pid" && return
		sleep 0.1
	done
}

gone() { # PID: waits until the process has ended
	local try
	for ((try = 0; try < 50; try++)); do
		[ -d "/proc/$1" ] || return 0
		sleep 0.1
	done
	return 1
}
