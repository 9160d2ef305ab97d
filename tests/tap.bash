# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# TAP for scripts that need no lab; sourced by each. Runs from the top folder, with a folder `t` for what is temporary.
set -u
cd "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
count=0

check() { # NAME COMMAND…: a test that passes if COMMAND does; else what it prints is shown
  local name=$1
  shift
  count=$((count + 1))
  if "$@" >"$t/log" 2>&1; then
    echo "ok $count - $name"
  else
    sed 's/^/# /' "$t/log"
    echo "not ok $count - $name"
  fi
}
