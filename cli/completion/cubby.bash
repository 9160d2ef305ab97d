# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Bash completion for cubby: commands, their options (asked from --help, so they are those of this version), files.

_cubby() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]} word i
  COMPREPLY=()
  if [ "$COMP_CWORD" = 1 ] || { [ "$verb" = help ] && [ "$COMP_CWORD" = 2 ]; }; then
    mapfile -t COMPREPLY < <(compgen -W "$(cubby help 2>/dev/null | sed -n 's/^  \([a-z]*\)  .*/\1/p')" -- "$cur")
    return
  fi
  for ((i = 2; i < COMP_CWORD; i++)); do
    [ "${COMP_WORDS[i]}" = -- ] && return # the command is in the box, where we cannot look
  done
  case $prev in
  --rootfs | --kernel | --env-file | --assets | --timeline)
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    compopt -o filenames
    return
    ;;
  -e | --env)
    mapfile -t COMPREPLY < <(compgen -v -- "$cur")
    return
    ;;
  esac
  word=$(cubby "$verb" --help 2>/dev/null | grep -oE '^  (-.,|   ) --[a-z-]+' | grep -oE -e '--[a-z-]+')
  mapfile -t COMPREPLY < <(compgen -W "$word" -- "$cur")
}
complete -F _cubby cubby
