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

# A home with an image in it.
CUBBY_HOME=$(mktemp -d)
export CUBBY_HOME
trap 'rm -rf "$CUBBY_HOME"' EXIT
mkdir "$CUBBY_HOME/tree" && echo x >"$CUBBY_HOME/tree/file"
cubby image load --quiet --name localhost/some/thing:v1 "$CUBBY_HOME/tree" >&2

echo 1..18
expect 'commands' run cubby r
expect 'commands behind help' doctor cubby help 'do'
expect 'options of a command' --memory cubby run --me
expect 'options without a letter' --cpus cubby run --c
expect 'options of another command' --json cubby doctor --
expect 'files' lab/run cubby run --rootfs lab/r
expect 'commands of a command' inspect cubby image in
expect 'commands of a command behind help' prune cubby help image pr
expect 'options of a command of a command' --older-than cubby image prune --o
expect 'images to run' localhost/some/thing:v1 cubby run --memory 1G localhost/
expect 'images to remove' localhost/some/thing:v1 cubby image rm ''
expect 'no image where there is none' '' cubby image rm nosuch
expect 'files to load' lab/run cubby image load lab/r
expect 'files behind -o' lab/run cubby image save -o lab/r
expect 'words of a choice' never cubby run --pull n
expect 'words of a format' json cubby images --format ''
expect 'names of limits' nofile= cubby run --ulimit nof
expect 'nothing behind --' '' cubby run -- --me
