#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Pulls from Debian's docker-registry, over http and https, with and without logins, through mirrors.
set -u
cd "$(dirname "$0")/../.." || exit 1
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
# The driver with sanitizers or without; the newest, where both were built.
driver=
for d in build/tests/oci/pull_driver build/gcc-address-undefined/tests/oci/pull_driver; do
  if [ "$d" -nt "$driver" ]; then driver=$d; fi
done
[ -n "$driver" ] || { echo 'Bail out! tests/oci/pull_driver is not built (make tests)'; exit 1; }
unset http_proxy https_proxy all_proxy HTTPS_PROXY ALL_PROXY
python3 tests/oci/registry_tests.py "$PWD/$driver" "$t"
