#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 1500
# PID 1 and its agent in real guests, seen by the independent client in Python (tests/guest-init/).
set -u
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"
exec python3 -B tests/guest-init/box_tests.py "$B" "$T"
