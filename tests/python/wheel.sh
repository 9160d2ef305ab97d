#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The wheel: the same files give the same bytes, pip takes it without a network, it has what it needs.
# shellcheck source=tests/tap.bash
. "$(dirname "$0")/../tap.bash"

unset CUBBY_LIBRARY CUBBY_ASSETS PYTHONPATH
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1

same_bytes() {
  mkdir "$t/a" "$t/b" && bindings/python/backend.py "$t/a" && bindings/python/backend.py "$t/b" && diff -r "$t/a" "$t/b"
}
one_version() {
  local version
  version=$(make -s print-VERSION)
  grep -qx "version = \"$version\"" bindings/python/pyproject.toml &&
    grep -qx "__version__ = \"$version\"" bindings/python/cubby/__init__.py &&
    [ -e "$t/a/cubby-$version-py3-none-linux_$(uname -m).whl" ]
}
installs() {
  /usr/bin/python3 -m pip install -q --no-index --no-compile --target "$t/site" "$t"/a/*.whl &&
    ls "$t/site" && [ -x "$t/site/cubby/_native/cubby-vmm" ]
}
says_version() {
  PYTHONPATH=$t/site python3 -m cubby version | grep -F "($t/site/cubby/_native/libcubby.so.1)"
}
finds_assets() { # whatever KVM is like here
  PYTHONPATH=$t/site python3 -m cubby doctor >"$t/doctor"
  cat "$t/doctor"
  for file in cubby-vmm vmlinux initrd.cpio default.ext4; do
    grep -xF "ok   $file: $t/site/cubby/_native/$file" "$t/doctor" || return 1
  done
}
by_pip() { # the build backend of pyproject.toml
  mkdir -p "$t/tree/bindings" && cp LICENSE "$t/tree" && cp -r bindings/python "$t/tree/bindings" || return 1
  CUBBY_BUILD=$PWD/build /usr/bin/python3 -m pip wheel -q --no-index --no-build-isolation --no-deps -w "$t/c" \
    "$t/tree/bindings/python" && diff -r "$t/a" "$t/c"
}

echo '1..6'
check 'the same files give the same bytes' same_bytes
check 'package, wheel and cubby have one version' one_version
check 'pip installs it without a network' installs
check 'python -m cubby version' says_version
check 'libcubby finds what it needs beside itself' finds_assets
check 'pip builds it from the source tree' by_pip
