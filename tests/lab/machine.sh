#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 900
# cubby-vmm with Linux guests: many CPUs, little and much memory, ends with a name.
# shellcheck disable=SC2016
set -u
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"

# A guest whose init is a busybox script: MACHINE_INIT is what it runs. Ends by a reset, which is a triple fault.
make_initrd() {
  local dir=$T/initrd
  mkdir -p "$dir/bin" "$dir/proc" "$dir/dev" "$dir/sys"
  cp /usr/bin/busybox "$dir/bin/busybox"
  ln -s busybox "$dir/bin/sh"
  {
    echo '#!/bin/sh'
    echo '/bin/busybox mount -t proc proc /proc; /bin/busybox mount -t devtmpfs dev /dev; exec >/dev/hvc0 2>&1'
    echo "$1"
    echo '/bin/busybox reboot -f'
  } >"$dir/init"
  chmod +x "$dir/init"
  mkdir -p "$dir/dev" && mknod "$dir/dev/console" c 5 1
  (cd "$dir" && find . | cpio -o -H newc --quiet) >"$T/initrd.cpio"
  rm -rf "$dir"
}
vmm() { "$B/cubby-vmm" --initrd "$T/initrd.cpio" --console "$T/console" "$@" </dev/null; }
boots() { # EXPECT ARGS…: the console says EXPECT, and nothing that is a warning
  local expect=$1
  shift
  rm -f "$T/console"
  vmm "$@"
  grep -q "$expect" "$T/console" || { tail -30 "$T/console"; return 1; }
  ! grep -E 'WARNING|BUG:|Oops|Call Trace' "$T/console"
}
cpus() { boots "cpus=$1 " --kernel "$B/vmlinux" --cpus "$1" --memory 512 --cmdline 'console=hvc0 panic=-1 reboot=t'; }
panicked() {
  rm -f "$T/console"
  code_is 10 "$B/cubby-vmm" --kernel "$B/vmlinux" --console "$T/console" --events "$T/events" </dev/null 2>"$T/err"
  local ret=$?
  cat "$T/err"
  [ $ret = 0 ] && grep -q 'panic' "$T/err" && grep -q '"reason": *"panic"' "$T/events"
}
make_initrd '/bin/busybox mount -t sysfs sys /sys; e=$(/bin/busybox head -c 4096 /dev/vda 2>/dev/null | /bin/busybox md5sum)
echo "cpus=$(/bin/busybox nproc) mem=$(/bin/busybox free -m | /bin/busybox awk "/Mem/{print \$2}") sum=${e%% *} serial=$(/bin/busybox cat /sys/block/vda/serial 2>/dev/null)"'
head -c 4096 /dev/zero | tr '\0' 'c' >"$T/disk"
sum=$(md5sum <"$T/disk")

disk_readable() {
  boots "sum=${sum%% *} serial=abc" --kernel "$B/vmlinux" --disk "$T/disk,ro,serial=abc"
}

plan 9
check 'vmlinux by the 64-bit boot protocol' boots 'cpus=1 ' --kernel "$B/vmlinux" --boot linux
check 'bzImage' boots 'cpus=1 ' --kernel "$B/bzImage"
check 'vmlinux by its PVH entry, with two CPUs' boots 'cpus=2 ' --kernel "$B/vmlinux" --boot pvh --cpus 2
check 'two CPUs' cpus 2
check 'sixteen CPUs' cpus 16
check '48 MiB of memory' boots 'mem=' --kernel "$B/vmlinux" --memory 48
check 'memory on both sides of 4 GiB' boots 'mem=4[0-9][0-9][0-9] ' --kernel "$B/vmlinux" --memory 5000
check 'a disk is read, and has its serial number' disk_readable
check 'a panic has its name and its exit code' panicked
