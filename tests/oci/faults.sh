#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Pulls through a proxy that fails on purpose, and pulls that are killed.
# shellcheck source=tests/oci/pulls.bash
. "$(dirname -- "$0")/pulls.bash"
run_pulls tests/oci/fault_tests.py
