#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 600
# The Python package with libcubby and the real agent, without KVM.
set -u
cd "$(dirname "$0")/../.." || exit 1
vmm=
for f in build/tests/python/vmm build/gcc-address-undefined/tests/python/vmm; do
  if [ "$f" -nt "$vmm" ]; then vmm=$f; fi
done
[ -n "$vmm" ] || { echo 'Bail out! tests/python/vmm is not built (make tests)'; exit 1; }
export CUBBY_LIBRARY=${CUBBY_LIBRARY:-$PWD/build/libcubby.so.1} PYTHONPATH=bindings/python PYTHONDONTWRITEBYTECODE=1
exec python3 -X dev -W error::ResourceWarning tests/python/run.py "$vmm" "$@"
