#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 300
# That merging keeps up with unpacking, at a size that is quick; `make bench` measures the whole.
set -u
cd "$(dirname -- "$0")/../.." || exit 1
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
echo 1..1
not=
tests/bench/merge --size 24 --rounds 1 --json "$t/merge.json" >"$t/said" 2>&1 || not='not '
sed 's/^/# /' "$t/said"
echo "${not}ok 1 - a merge has at least 0.7 of the speed of tar -x, in less than 64 MiB of memory"
[ -z "$not" ]
