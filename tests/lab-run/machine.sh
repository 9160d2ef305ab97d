#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 300
# What a command finds in the lab: KVM, devices, mounts, its folder, its files.
# shellcheck source=tests/lab-run/tap.bash disable=SC1091,SC2154,SC2086 # rc, out, err, tmp come from there
. "$(dirname -- "$0")/tap.bash"

${CC:-cc} -O1 -o "$tmp/kvm_guest" tests/lab-run/kvm_guest.c || exit 1
mkdir "$tmp/share" "$tmp/share,2"
echo lower >"$tmp/file"
export LAB_TEST=$'two\nlines '
cat >"$tmp/inside" <<'END'
tmp=$1 second=$2 count=$#
check() { if eval "$2"; then echo "ok $1"; else echo "NOT $1"; fi; }
check 'a KVM guest runs' '"$tmp/kvm_guest" 100 >/dev/null'
check 'two KVM guests at once' '"$tmp/kvm_guest" 2000 >/dev/null & "$tmp/kvm_guest" 2000 >/dev/null && wait $!'
check 'arguments' '[ "$second" = "a  b
c" ] && [ $count = 2 ]'
check 'environment' '[ "$LAB_TEST" = "two
lines " ] && [ "$CUBBY_LAB" = 1 ]'
check 'root' '[ "$(id -u)" = 0 ]'
check 'files of the host' '[ "$(cat "$tmp/file")" = lower ]'
check 'they can be written' 'echo upper >"$tmp/file" && [ "$(cat "$tmp/file")" = upper ]'
check 'proc, sys, dev, pts, shm, run' '
	for fs in proc:/proc sysfs:/sys devtmpfs:/dev devpts:/dev/pts tmpfs:/dev/shm tmpfs:/run cgroup2:/sys/fs/cgroup; do
		grep -q " ${fs#*:} ${fs%%:*} " /proc/mounts || { echo "# no $fs"; false; break; }
	done'
check 'cgroup v2 with memory, pids, cpu' '
	mkdir /sys/fs/cgroup/t && [ -e /sys/fs/cgroup/t/memory.max ] && [ -e /sys/fs/cgroup/t/pids.max ] &&
	[ -e /sys/fs/cgroup/t/cpu.max ] && [ -e /sys/fs/cgroup/t/cgroup.kill ]'
check 'loopback' 'grep -q "127.0.0.1" /proc/net/fib_trie'
check 'tun' '(: <>/dev/net/tun)'
check 'vhost-vsock' '(: <>/dev/vhost-vsock)'
check 'modprobe' 'modprobe loop && [ -b /dev/loop0 ]'
check 'unix sockets, temporary files' 'mktemp >/dev/null && [ -d "$XDG_RUNTIME_DIR" ]'
check 'THP' 'grep -q "\[always\]" /sys/kernel/mm/transparent_hugepage/enabled'
check 'lab/run inside runs directly' '[ "$(lab/run -- echo nested)" = nested ]'
check 'shares' 'echo kept >"$tmp/share/result" && echo too >"$tmp/share,2/result"'
# KVM that comes before that gives guests clocks that are wrong.
check 'KVM was loaded after the TSC was measured' '
	dmesg | grep -oE "Refined TSC|kvm: Nested Virt" | head -n 1 | grep -q Refined'
check 'no warnings from the kernel' '! dmesg | grep -E "WARNING:|BUG:|Oops"'
echo cwd "$PWD"
nproc
END
lab --cpus 2 --share "$tmp/share" --share "$tmp/share,2" -- sh "$tmp/inside" "$tmp" $'a  b\nc' </dev/null
is "exit code" $rc 0
while read -r verdict name; do
	case $verdict in
	ok | NOT) ok "$name" [ "$verdict" = ok ] ;;
	esac
done <"$tmp/out"
ok "all was checked" [ "$(grep -c '^ok\|^NOT' "$tmp/out")" -ge 19 ]
is "the folder" "$(sed -n 's/^cwd //p' "$tmp/out")" "$(pwd -P)"
is "CPUs" "$(tail -n 1 "$tmp/out")" 2
is "a share keeps results" "$(cat "$tmp/share/result" "$tmp/share,2/result")" $'kept\ntoo'
is "all else is discarded" "$(cat "$tmp/file")" lower
is "nothing on stderr" "$err" ""

# shellcheck disable=SC2016 # the lab's shell expands it
lab --icount --mem 1024 -- sh -c 'nproc; exec "$0"' "$tmp/kvm_guest" </dev/null
is "--icount: KVM works too, on one CPU" "$rc $out" $'0 1\n2+3=5, said the guest'

done_testing
