#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The manual pages and --help name the same options, exit codes and variables.
set -u
cd "$(dirname "$0")/../.." || exit 1
cubby=build/cubby
count=0

check() { # NAME COMMAND…
  local name=$1
  shift
  count=$((count + 1))
  if "$@"; then echo "ok $count - $name"; else echo "not ok $count - $name"; fi
}

plain() { mandoc -T utf8 -O width=200 "docs/man/$1.1" | col -b; }
# Each --option of --help stands in the page's text, and the other way round.
same_options() { # VERB PAGE
  local help page
  help=$("$cubby" "$1" --help | grep -oE '^  (-.,|   ) --[a-z-]+' | grep -oE -e '--[a-z-]+' | sort -u)
  page=$(plain "$2" | sed -n '/^DESCRIPTION/,$p' | grep -oE '^ +(-., )?(-. [^,]*, )?--[a-z-]+' | grep -oE -e '--[a-z-]+' | sort -u)
  [ "$help" = "$page" ] || { diff <(echo "$help") <(echo "$page") | sed 's/^/# /'; return 1; }
}
all_commands() {
  local verb
  for verb in $("$cubby" help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
    plain cubby | grep -qE "^ +$verb" || { echo "# $verb"; return 1; }
  done
}
exit_codes() { for code in 124 125 126 127; do plain cubby-run | grep -qE "^ +$code" || return 1; done; }
# Each key that the configuration file may have, in cubby-config(5) and the other way round.
config_keys() {
  local known page
  known=$(grep -oE '^ +\{"[a-z_]+", ' oci/oci_config.c | grep -oE '[a-z_]+' | sort -u)
  page=$(grep -oE '^\.(It Cm|Ss) [a-z_]+' docs/man/cubby-config.5 | awk '{ print $NF }' | sort -u)
  [ "$known" = "$page" ] || { diff <(echo "$known") <(echo "$page") | sed 's/^/# /'; return 1; }
}
lint() { ! mandoc -T lint docs/man/cubby.1 docs/man/cubby-run.1 docs/man/cubby-doctor.1 | grep -v 'referenced manual not found'; }

echo 1..6
check 'cubby-run(1) has the options of cubby run --help' same_options run cubby-run
check 'cubby-doctor(1) has those of cubby doctor --help' same_options doctor cubby-doctor
check 'cubby(1) has all commands' all_commands
check 'cubby-run(1) has the exit codes' exit_codes
check 'cubby-config(5) has all keys' config_keys
check 'mandoc has nothing to say' lint
