#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cubby pull, images, image and run IMAGE, with Debian's docker-registry and a fake VMM.
set -u
cd "$(dirname "$0")/../.." || exit 1
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
# The fake VMM is the test of cubby run under another name, with sanitizers or without.
fake=
for f in build/tests/cli/test_run build/gcc-address-undefined/tests/cli/test_run; do
  if [ "$f" -nt "$fake" ]; then fake=$f; fi
done
[ -n "$fake" ] || { echo 'Bail out! tests/cli/test_run is not built (make tests)'; exit 1; }
PYTHONPATH=tests/oci python3 tests/cli/images_tests.py build/cubby "$PWD/$fake" "$t"
