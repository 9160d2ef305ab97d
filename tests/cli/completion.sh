#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Bash completion, asked as the shell asks it.
set -u
cd "$(dirname "$0")/../.." || exit 1
PATH=$PWD/build:$PATH
# shellcheck source=cli/completion/cubby.bash
. cli/completion/cubby.bash
compopt() { :; } # there is no completion under way

count=0
expect() { # NAME WANTED WORD…: among the completions of the last word is WANTED
  local name=$1 wanted=$2
  shift 2
  COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
  _cubby
  count=$((count + 1))
  if [[ " ${COMPREPLY[*]} " == *" $wanted "* ]] || { [ -z "$wanted" ] && [ ${#COMPREPLY[@]} = 0 ]; }; then
    echo "ok $count - $name"
  else
    echo "not ok $count - $name: ${COMPREPLY[*]}"
  fi
}

echo 1..7
expect 'commands' run cubby r
expect 'commands behind help' doctor cubby help 'do'
expect 'options of a command' --memory cubby run --me
expect 'options without a letter' --cpus cubby run --c
expect 'options of another command' --json cubby doctor --
expect 'files' lab/run cubby run --rootfs lab/r
expect 'nothing behind --' '' cubby run -- --me
