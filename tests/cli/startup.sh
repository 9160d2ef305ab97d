#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What cubby loads at its start and what only when it is needed (base/lazy.h).
# shellcheck source=tests/tap.bash
. "$(dirname "$0")/../tap.bash"

export CUBBY_HOME=$t/home XDG_CONFIG_HOME=$t

loaded() { # COMMAND…: the names of the libraries that it loads; its exit code does not matter
  rm -f "$t"/files.*
  LD_DEBUG=files LD_DEBUG_OUTPUT=$t/files build/cubby "$@" >"$t/out" 2>&1 </dev/null
  cat "$t"/files.* | grep -oE 'file=[^ ]*lib(curl|archive)\.so[^ ]*' | sort -u
}
needs_neither() { ! readelf -d build/cubby | grep -E 'NEEDED.*lib(curl|archive)\.so'; }
images_loads_neither() { [ -z "$(loaded images)" ]; }
registries_load_neither() {
  mkdir -p "$t/cubby" && cat >"$t/cubby/config.json" <<'END' || return 1
{"registries": {"docker.io": {"mirrors": ["https://mirror.example.org/hub/", "http://192.0.2.1:5000"]},
  "localhost:5000": {"insecure": true}}}
END
  images_loads_neither && grep REPOSITORY "$t/out"
  local ret=$?
  rm -r "$t/cubby"
  return $ret
}
run_loads_neither() { [ -z "$(loaded run --pull never localhost/tree)" ]; }
pull_loads_curl() { loaded pull --insecure-registry 127.0.0.1:1 127.0.0.1:1/x | grep libcurl && grep refused "$t/out"; }
load_loads_archive() {
  mkdir -p "$t/tree" && echo x >"$t/tree/file" && tar -cf "$t/tree.tar" -C "$t/tree" .
  loaded image load --name localhost/tree "$t/tree.tar" | grep libarchive && grep 'Loaded image' "$t/out"
}
# A host without the library: an error like others, from the library as well, whose caller goes on.
missing() { # SONAME COMMAND…
  local soname=$1
  shift
  mkdir -p "$t/broken.$soname" && : >"$t/broken.$soname/$soname" || return 1
  LD_LIBRARY_PATH=$t/broken.$soname build/cubby "$@" >"$t/out" 2>&1 </dev/null
  local code=$?
  cat "$t/out"
  [ $code = 125 ] && grep "cannot load the library $soname: .*; install it" "$t/out"
}
a_library_that_is_missing_is_an_error() {
  missing libcurl.so.4 pull 127.0.0.1:1/x && missing libarchive.so.13 image load --name localhost/two "$t/tree.tar"
}

echo 1..7
check 'cubby is not linked with libcurl and libarchive' needs_neither
check 'a list of images needs neither' images_loads_neither
check 'nor do registries and mirrors in the configuration' registries_load_neither
check 'libarchive comes with the first tar' load_loads_archive
check 'a box of an image that is there needs neither' run_loads_neither
check 'libcurl comes with the first pull' pull_loads_curl
check 'a library that is missing is an error like others' a_library_that_is_missing_is_an_error
