# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs a script of pulls (see tests/oci/pulls.py) with the driver and a folder of its own; sourced by the tests
# that are such a script.
set -u
cd "$(dirname -- "${BASH_SOURCE[0]}")/../.." || exit 1

run_pulls() { # SCRIPT
  local d driver=
  t=$(mktemp -d)
  trap 'rm -rf "$t"' EXIT
  # The driver with sanitizers or without; the newest, where both were built.
  for d in build/tests/oci/pull_driver build/gcc-address-undefined/tests/oci/pull_driver; do
    if [ "$d" -nt "$driver" ]; then driver=$d; fi
  done
  [ -n "$driver" ] || { echo 'Bail out! tests/oci/pull_driver is not built (make tests)'; return 1; }
  unset http_proxy https_proxy all_proxy HTTPS_PROXY ALL_PROXY
  python3 "$1" "$PWD/$driver" "$t"
}
