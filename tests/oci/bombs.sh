#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 300
# Layers of full size, hostile and honest: see bomb_tests.py.
cd "$(dirname -- "$0")/../.." || exit 1
PATH=$PATH:/sbin:/usr/sbin exec python3 tests/oci/bomb_tests.py
