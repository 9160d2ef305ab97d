#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The manual pages and --help name the same options, exit codes and variables.
# shellcheck source=tests/tap.bash
. "$(dirname "$0")/../tap.bash"

cubby=build/cubby

plain() { mandoc -T utf8 -O width=200 "docs/man/$1".[15] | col -b; }
# Each --option of --help stands in the page's text, and the other way round. The page of a command of commands has
# those of all of them.
same_options() { # PAGE VERB…
  local help page=$1 verb
  shift
  help=$(for verb in "$@"; do # shellcheck disable=SC2086  # two words for a command of a command
    "$cubby" $verb --help
  done | grep -oE '^  (-.,|   ) --[a-z-]+' | grep -oE -e '--[a-z-]+' | sort -u)
  page=$(plain "$page" | sed -n '/^DESCRIPTION/,$p' | grep -oE '^ +(-., )?(-. [^,]*, )?--[a-z-]+' | grep -oE -e '--[a-z-]+' | sort -u)
  [ "$help" = "$page" ] || { diff <(echo "$help") <(echo "$page"); return 1; }
}
commands() { "$cubby" "$@" | sed -n 's/^  \([a-z]*\)  .*/\1/p'; }
image_options() {
  local verbs=() verb
  for verb in $(commands image --help); do verbs+=("image $verb"); done
  [ ${#verbs[@]} -gt 2 ] && same_options cubby-image "${verbs[@]}"
}
all_commands() {
  local verb
  for verb in $(commands help); do
    plain cubby | grep -qE "^ +$verb" || { echo "$verb"; return 1; }
  done
  for verb in $(commands image --help); do
    plain cubby-image | grep -qE "^ +cubby image $verb" || { echo "image $verb"; return 1; }
  done
}
exit_codes() { for code in 124 125 126 127; do plain cubby-run | grep -qE "^ +$code" || return 1; done; }
# Each key that the configuration file may have, in cubby-config(5) and the other way round.
config_keys() {
  local known page
  known=$(grep -oE '^ +\{"[a-z_]+", ' oci/oci_config.c | grep -oE '[a-z_]+' | sort -u)
  page=$(grep -oE '^\.(It Cm|Ss) [a-z_]+' docs/man/cubby-config.5 | awk '{ print $NF }' | sort -u)
  [ "$known" = "$page" ] || { diff <(echo "$known") <(echo "$page"); return 1; }
}
lint() { ! mandoc -T lint docs/man/*.[15] | grep -vE "referenced manual not found|outdated mandoc.db|cubby-vmm.1.*longer than 80"; }

echo 1..9
check 'cubby-run(1) has the options of cubby run --help' same_options cubby-run run
check 'cubby-doctor(1) has those of cubby doctor --help' same_options cubby-doctor doctor
check 'cubby-pull(1) has those of cubby pull --help' same_options cubby-pull pull
check 'cubby-images(1) has those of cubby images --help' same_options cubby-images images
check 'cubby-image(1) has those of all its commands' image_options
check 'cubby(1) and cubby-image(1) have all commands' all_commands
check 'cubby-run(1) has the exit codes' exit_codes
check 'cubby-config(5) has all keys' config_keys
check 'mandoc has nothing to say' lint
