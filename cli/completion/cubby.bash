# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Bash completion for cubby: commands, their options (asked from --help, so they are those of this version), images, files.

# The commands that `cubby …` lists.
_cubby_commands() { cubby "$@" 2>/dev/null | sed -n 's/^  \([a-z]*\)  .*/\1/p'; }
# The images that are there, by name.
_cubby_images() { cubby images --format json 2>/dev/null | sed -n 's/.*"Name":"\([^"]*\)".*/\1/p'; }
# Among the words of $1 those that begin as the one at the cursor.
_cubby_reply() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "${COMP_WORDS[COMP_CWORD]}"); }
_cubby_files() {
  mapfile -t COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
  compopt -o filenames
}

_cubby() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]} first=2 i
  COMPREPLY=()
  if [ "$COMP_CWORD" = 1 ] || { [ "$verb" = help ] && [ "$COMP_CWORD" = 2 ]; }; then
    _cubby_reply "$(_cubby_commands help)"
    return
  fi
  if [ "$verb" = image ] || { [ "$verb" = help ] && [ "${COMP_WORDS[2]}" = image ]; }; then
    [ "$verb" = image ] || first=3
    if [ "$COMP_CWORD" = "$first" ]; then
      _cubby_reply "$(_cubby_commands image --help)"
      return
    fi
    verb="image ${COMP_WORDS[2]}"
    first=3
  fi
  for ((i = first; i < COMP_CWORD; i++)); do
    [ "${COMP_WORDS[i]}" = -- ] && return # the command is in the box, where we cannot look
  done
  case $prev in
  --rootfs | --kernel | --env-file | --assets | --timeline | --input | -i | --output | -o)
    if [ "$verb $prev" != 'run -i' ]; then
      _cubby_files
      return
    fi
    ;;
  -e | --env)
    mapfile -t COMPREPLY < <(compgen -v -- "$cur")
    return
    ;;
  --ulimit)
    _cubby_reply "$(printf '%s=\n' as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack)"
    [ ${#COMPREPLY[@]} = 0 ] || compopt -o nospace
    return
    ;;
  --pull)
    _cubby_reply 'missing always never'
    return
    ;;
  --format)
    _cubby_reply 'table json'
    return
    ;;
  --kind)
    _cubby_reply 'auto images rootfs'
    return
    ;;
  esac
  case $cur,$verb in
  -*) # shellcheck disable=SC2086  # two words for a command of a command
    _cubby_reply "$(cubby $verb --help 2>/dev/null | grep -oE '^  (-.,|   ) --[a-z-]+' | grep -oE -e '--[a-z-]+')"
    ;;
  *,run | *,pull | *,'image inspect' | *,'image rm' | *,'image save') _cubby_reply "$(_cubby_images)" ;;
  *,'image load') _cubby_files ;;
  esac
}
complete -F _cubby cubby
