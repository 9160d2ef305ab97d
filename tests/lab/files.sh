#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 300
# Copies into and out of a real guest, through the library: see files.c.
set -u
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"
export CUBBY_ASSETS=$B CMOCKA_MESSAGE_OUTPUT=TAP TMPDIR=$T
"$B/tests/lab/files"
