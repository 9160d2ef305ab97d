#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 900
# The programs of examples/ print what they should, in real guests, and leave nothing.
set -u
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"
unset CUBBY_ASSETS # which libcubby finds beside itself
E=$B/examples

# What COMMAND prints is stdin's text; nothing on stderr.
prints() { # COMMAND…
  cat >"$T/wanted"
  "$@" >"$T/got" 2>"$T/err" </dev/null || { echo "exit code $?"; cat "$T/err"; return 1; }
  diff "$T/wanted" "$T/got" && [ ! -s "$T/err" ] && nothing_left
}
ten_at_once() {
  "$E/embed" >"$T/got" 2>"$T/err" || { cat "$T/err"; return 1; }
  cat "$T/got"
  # Each box has its three lines in their order.
  for i in 0 1 2 3 4 5 6 7 8 9; do printf "box $i: line %d\n" 1 2 3; done >"$T/wanted"
  sort -s -k1,2 "$T/got" | diff "$T/wanted" - && [ ! -s "$T/err" ] && nothing_left
}
one_command() {
  prints "$E/run" sh -c 'echo out; echo err >&2; exit 3' <<'END'
stdout: out
stderr: err
exit code: 3
END
}
no_such_command() {
  code_is 1 "$E/run" no-such-command 2>"$T/err" && grep '^command-not-found: .*no-such-command' "$T/err" && nothing_left
}
conversation() {
  prints "$E/talk" <<'END'
6 * 7 = 42
2 + 2 = 4
1 << 10 = 1024
it ended with 3
END
}
copies() {
  mkdir -p "$T/in/sub" "$T/here" && echo abc >"$T/in/one" && echo defgh >"$T/in/sub/two" && cd "$T/here" || return 1
  prints "$E/copy" "$T/in" <<'END' && printf './one\n./sub/two\n' | diff - list.txt
4 files and folders, 10 bytes went in; list.txt has 16 bytes
END
}
on_its_own() {
  prints "$E/detached" <<'END'
runs: sh -c echo early; sleep 1; echo late; exit 4
early
late
ended: sh -c echo early; sleep 1; echo late; exit 4
removed: exit code 4
END
}
an_image() {
  prints "$E/pull" example/app:v1 <<'END'
2 layers
1 of 2 is here
2 of 2 is here
docker.io/example/app:v1 for linux/amd64
hello from the image
END
}
again_it_is_there() {
  prints "$E/pull" example/app:v1 <<'END'
docker.io/example/app:v1 for linux/amd64
hello from the image
END
}

registry
plan 8
check 'embed: ten boxes from one event loop' ten_at_once
check 'run: a command and its output in one call' one_command
check 'run: an error has its name' no_such_command
check 'talk: stdin and stdout by turns' conversation
check 'copy: in and out' copies
check 'detached: started, met again, removed' on_its_own
check 'pull: an image with progress, and its command' an_image
check 'pull: an image that is there' again_it_is_there
