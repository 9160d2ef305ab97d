#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 240
# A GiB on stdout and another on stderr at once, 256 MiB of stdin, 10,000 executions in sequence, and what the agent
# needs for it: by the ordinary build, because a sanitizer's memory says nothing.
exec "$(dirname "$0")/../../build/tests/guest-init/test_agent_volume"
