#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Images made from folders: e2fsck finds them clean, and debugfs reads back what went in.
# shellcheck source=tests/tap.bash
. "$(dirname "$0")/../tap.bash"

PATH=$PATH:/sbin:/usr/sbin
mkrootfs=${MKROOTFS:-build/mkrootfs}
trap 'chmod -R u+rwX "$t" 2>/dev/null; rm -rf "$t"' EXIT

debug() { debugfs -R "$1" "$t/img" 2>/dev/null; }

make_tree() {
  mkdir -p "$t/tree/a/b/c" "$t/tree/empty" "$t/tree/lost+found"
  echo hello >"$t/tree/a/file"
  ln "$t/tree/a/file" "$t/tree/a/b/second-name"
  ln -s ../file "$t/tree/a/b/short"
  ln -s "$(printf 'x%.0s' {1..3000})" "$t/tree/a/long-target"
  mkfifo "$t/tree/a/pipe"
  chmod 4755 "$t/tree/a/file"
  chmod 1777 "$t/tree/empty"
  : >"$t/tree/$(printf 'n%.0s' {1..255})"
  : >"$t/tree/a/"$'odd \x01\xff\nname'
  head -c 3000000 /dev/urandom >"$t/tree/a/b/random"
  truncate -s 5G "$t/tree/sparse"
  printf end | dd of="$t/tree/sparse" bs=1 seek=5000000000 conv=notrunc status=none
  mkdir "$t/tree/many"
  (cd "$t/tree/many" && seq -f 'a-file-with-a-longer-name-%06.0f' 3000 | xargs touch)
  touch -d '2001-02-03 04:05:06.123456789 UTC' "$t/tree/a/file"
  touch -d '2100-01-01 00:00:00.5 UTC' "$t/tree/empty"
}

image() { "$mkrootfs" "$t/tree" "$t/img"; }
clean() { e2fsck -fn "$t/img"; }
same_content() {
  mkdir "$t/out" && debug "rdump /a $t/out" && debug "rdump /many $t/out" || return 1
  rm -f "$t/out/a/pipe"
  diff -r --no-dereference --exclude=pipe "$t/tree/a" "$t/out/a" && diff -r "$t/tree/many" "$t/out/many"
}
hard_link() {
  test "$(debug 'stat /a/file' | grep -o '^Inode: [0-9]*')" = "$(debug 'stat /a/b/second-name' | grep -o '^Inode: [0-9]*')" &&
    debug 'stat /a/file' | grep 'Links: 2'
}
modes() {
  debug 'stat /a/file' | grep 'Mode:  *04755' && debug 'stat /empty' | grep 'Mode:  *01777' &&
    debug 'stat /a/pipe' | grep 'Type: FIFO'
}
owners() { debug 'stat /a/file' | grep -E 'User: +0 +Group: +0'; }
times() {
  # Seconds since 1970 in hex, then nanoseconds << 2 with the epoch bits.
  debug 'stat /a/file' | grep 'mtime: 0x3a7b8372:1d6f3454' && debug 'stat /empty' | grep -i 'mtime: 0xf4865700:77359401'
}
sparse() {
  debug 'stat /sparse' | grep 'Size: 5368709120' && test "$(debug 'stat /sparse' | grep -o 'Blockcount: [0-9]*' | cut -d' ' -f2)" -le 16 &&
    test "$(debug 'cat /sparse' | tail -c +5000000001 | head -c 3)" = end && test "$(du -m "$t/img" | cut -f1)" -lt 64
}
deterministic() {
  "$mkrootfs" "$t/tree" "$t/img1" 1000000 && sleep 1.1 && "$mkrootfs" "$t/tree" "$t/img2" 1000000 && cmp "$t/img1" "$t/img2"
}
xattr() {
  python3 -c 'import os,sys; os.setxattr(sys.argv[1], "user.note", b"kept\0as is")' "$t/tree/a/file" || return 1
  image; debug "ea_get -f $t/ea /a/file user.note"; printf "kept\0as is" | cmp - "$t/ea"
}
device() {
  [ "$(id -u)" = 0 ] || return 0 # only root can make one to copy
  mknod "$t/tree/null" c 1 3 && mknod "$t/tree/wide" b 259 70000 && image && clean &&
    debug 'stat /null' | grep 'Device major/minor number: 01:03' && debug 'stat /wide' | grep -i 'hex 103:11170'
}
fails_with() { # PATTERN COMMAND…: exits with an error of one line that matches, and leaves no image
  local pattern=$1 out
  shift
  out=$("$@" 2>&1) && { echo "succeeded"; return 1; }
  echo "$out"
  [ "$(wc -l <<<"$out")" = 1 ] && grep -q "$pattern" <<<"$out" && [ ! -e "$t/bad" ]
}

unreadable() {
  if [ "$(id -u)" = 0 ]; then
    chmod 755 "$t"
    mkdir -p "$t/locked/in" && echo x >"$t/locked/in/secret" && chmod 000 "$t/locked/in/secret"
    cp "$mkrootfs" "$t/mkrootfs"
    fails_with "secret.*Permission denied" setpriv --reuid 65534 --clear-groups "$t/mkrootfs" "$t/locked" /tmp/nobody-"$$"
  else
    mkdir -p "$t/locked/in" && : >"$t/locked/in/secret" && chmod 000 "$t/locked/in/secret"
    fails_with "secret.*Permission denied" "$mkrootfs" "$t/locked" "$t/bad"
  fi
}
full_disk() {
  [ "$(id -u)" = 0 ] || return 0
  mkdir "$t/small" && mount -t tmpfs -o size=1m none "$t/small" || return 1
  fails_with "No space left" "$mkrootfs" "$t/tree" "$t/small/img"
  local ret=$?
  test -z "$(ls "$t/small")" || ret=1
  umount "$t/small"
  return $ret
}
too_deep() {
  mkdir "$t/deep" && (cd "$t/deep" && for _ in $(seq 300); do mkdir d && cd d || exit 1; done)
  fails_with "nested more than" "$mkrootfs" "$t/deep" "$t/bad"
}

echo 1..16
make_tree
check "an image is made from a folder" image
check "e2fsck finds it clean" clean
check "names and contents are the same" same_content
check "hard links stay one object" hard_link
check "modes and types are kept" modes
check "everything belongs to root" owners
check "times are kept to the nanosecond and beyond 2038" times
check "a sparse file of 5 GiB stays sparse" sparse
check "the same tree gives the same bytes" deterministic
check "extended attributes are kept" xattr
check "device nodes are kept" device
check "a folder that does not exist is named" fails_with "'$t/none'.*No such file" "$mkrootfs" "$t/none" "$t/bad"
check "a file in the place of the folder is told" fails_with "Not a directory" "$mkrootfs" /etc/passwd "$t/bad"
check "an unreadable file is named" unreadable
check "a full disk is told and nothing is left" full_disk
check "a tree that is too deep is refused" too_deep
