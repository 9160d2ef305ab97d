#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# libcubby as others find it: installed in a folder of its own, used by programs in C and C++ that know pkg-config only.
# shellcheck source=tests/tap.bash
. "$(dirname "$0")/../tap.bash"

d=$t/root$(make -s print-LIBDIR)
version=$(make -s print-VERSION)
export XDG_RUNTIME_DIR=$t CUBBY_HOME=$t/home PKG_CONFIG_PATH=$d/pkgconfig PKG_CONFIG_SYSROOT_DIR=$t/root
unset CUBBY_ASSETS LD_LIBRARY_PATH
warn='-Wall -Wextra -Wpedantic -Werror'

installs() { env -u MAKEFLAGS -u MFLAGS make install DESTDIR="$t/root" && [ -e "$d/libcubby.so" ]; }

compile() { # OUTPUT COMPILER… -- LIBRARIES…: the client
  local out=$1 command=()
  shift
  while [ "$1" != -- ]; do command+=("$1"); shift; done
  shift
  # shellcheck disable=SC2046,SC2086  # lists of words
  "${command[@]}" $warn $(pkg-config --cflags cubby) -o "$out" tests/library/client.c "$@"
}
# It runs, is of this version, and finds the assets that were installed with the library.
works() { # PROGRAM
  "$1" >"$t/out" || return 1
  cat "$t/out"
  grep -qx "version $version" "$t/out" && grep -qx "vmlinux $d/cubby/vmlinux" "$t/out"
}
shared() { # COMPILER…
  # shellcheck disable=SC2046
  compile "$t/shared" "$@" -- $(pkg-config --libs cubby) && readelf -d "$t/shared" | grep -F '[libcubby.so.1]' &&
    LD_LIBRARY_PATH=$d works "$t/shared"
}
# Beside the library's own folder, in one of the program's.
static() { # COMPILER…
  # shellcheck disable=SC2046
  compile "$d/static" "$@" -- -Wl,-Bstatic $(pkg-config --libs cubby) -Wl,-Bdynamic \
    $(pkg-config --libs-only-l --static cubby | sed 's/-lcubby//') && ! readelf -d "$d/static" | grep libcubby &&
    works "$d/static"
}
# A relative name in LD_LIBRARY_PATH, and a program that has left the folder; one that has the assets beside itself.
other_folder() {
  cp "$t/shared" "$t/moved" && (cd "$d/.." && LD_LIBRARY_PATH=$(basename "$d") works "$t/moved") || return 1
  mkdir "$t/bundle" && cp "$t/shared" "$d/libcubby.so.1" "$t/bundle" && cp -r "$d/cubby/vmlinux" "$t/bundle" || return 1
  LD_LIBRARY_PATH=$t/bundle "$t/bundle/shared" | grep -x "vmlinux $t/bundle/vmlinux"
}
build_tree() { LD_LIBRARY_PATH=$PWD/build "$t/shared" | grep -x "vmlinux $PWD/build/vmlinux"; }
says_where_it_looked() {
  mkdir "$t/alone" && cp "$t/shared" "$d/libcubby.so.1" "$t/alone" || return 1
  # Installed on this machine, too, it would be found.
  [ ! -e "${d#"$t/root"}/cubby/vmlinux" ] || return 0
  LD_LIBRARY_PATH=$t/alone "$t/alone/shared" | tee "$t/where"
  grep "looked in '$t/alone', '$t/alone/cubby', '${d#"$t/root"}/cubby'" "$t/where" && grep CUBBY_ASSETS "$t/where"
}
uninstalls() {
  rm -f "$d/static"
  env -u MAKEFLAGS -u MFLAGS make uninstall DESTDIR="$t/root" && [ -z "$(find "$t/root" ! -type d)" ]
}

echo 1..10
check 'make install' installs
check 'C, shared, finds its assets beside the library' shared gcc -std=c99
check 'C, clang' shared clang -std=c11
check 'C++, shared' shared g++ -x c++ -std=c++11
check 'C++20' shared g++ -x c++ -std=c++20
check 'C, static' static gcc -std=c99
check 'in other folders' other_folder
check 'in the build tree' build_tree
check 'without assets it says where it looked' says_where_it_looked
check 'make uninstall leaves nothing' uninstalls
