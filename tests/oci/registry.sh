#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Pulls from Debian's docker-registry, over http and https, with and without logins, through mirrors.
# shellcheck source=tests/oci/pulls.bash
. "$(dirname -- "$0")/pulls.bash"
run_pulls tests/oci/registry_tests.py
