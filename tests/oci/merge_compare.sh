#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 300
# The merge against a tool that nobody doubts: see merge_compare.py.
cd "$(dirname "$0")/../.." || exit 1
PATH=$PATH:/sbin:/usr/sbin exec python3 tests/oci/merge_compare.py
