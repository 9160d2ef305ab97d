#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deadline: 900
# From a reference to a command in a virtual machine: Debian's Python as library/python:slim in a real registry, which is
# the mirror of docker.io here, so that the command lines are those of a user with internet.
# shellcheck disable=SC2016  # the guest's shell expands
set -u
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"

registry
requests() { grep -c 'HTTP/1' "$T/registry.log"; }

says() { # WANTED COMMAND…
  local wanted=$1 got
  shift
  got=$("$@" </dev/null) || { echo "code $?"; return 1; }
  [ "$got" = "$wanted" ] || { echo "it says: $got"; return 1; }
}

first_run() { # all of it: resolve, download, check, merge, boot, run
  says 4 run --timeout 60s python:slim -- python -c 'print(2+2)' 2>"$T/err" || { cat "$T/err"; return 1; }
  cat "$T/err"
  grep -q 'python:slim: 2 layers' "$T/err" && [ "$(requests)" -ge 4 ]
}
warm_run() { # nothing is asked, nothing is merged, nothing is told
  local before roots
  before=$(requests)
  roots=$(stat -c '%n %Y %i' "$CUBBY_HOME"/images/rootfs/*)
  says 4 run python:slim python -c 'print(2+2)' 2>"$T/err" || { cat "$T/err"; return 1; }
  [ ! -s "$T/err" ] || { cat "$T/err"; return 1; }
  [ "$(requests)" = "$before" ] || { echo "requests: $before before, $(requests) after"; return 1; }
  [ "$(stat -c '%n %Y %i' "$CUBBY_HOME"/images/rootfs/*)" = "$roots" ]
}
log_topics() { # a registry asked, an image, a machine, an execution; each topic by itself; the words of BoxLite
  local topic
  RUST_LOG=hyper=off,boxlite=debug says 4 run -q --pull always python:slim python -c 'print(2+2)' 2>"$T/err" || return 1
  for topic in net image box vmm exec; do
    grep -q "^cubby $topic " "$T/err" || { echo "no line of $topic"; cat "$T/err"; return 1; }
  done
  CUBBY_LOG=exec=debug RUST_LOG=debug says 4 run python:slim python -c 'print(2+2)' 2>"$T/err" || return 1
  grep -q "'python' is to be executed" "$T/err" && ! grep -v '^cubby exec ' "$T/err"
}
own_command() { says 'hello from the image' run -q example/app:v1; }
arguments_of_the_entrypoint() { says 4 run example/app:v1 -c 'print(2+2)'; }
configuration() {
  says 'hello C.UTF-8 /srv/app 1000 1000 x' run -e NEW=x example/app:v1 -c 'import os
print(os.environ["GREETING"], os.environ["LANG"], os.getcwd(), os.getuid(), os.getgid(), os.environ["NEW"])'
}
options_go_before_it() {
  says 'bye / 0' run -e GREETING=bye -w / -u root example/app:v1 -c 'import os
print(os.environ["GREETING"], os.getcwd(), os.getuid())'
}
program_on_stdin() { [ "$(echo 'import sys; print(sys.version_info[0])' | run -i example/app:v1 -)" = 3 ]; }
code_of_python() { code_is 3 run example/app:v1 -c 'import sys; sys.exit(3)'; }
what_a_layer_takes_away_is_gone() { says 'False True' run example/app:v1 -c 'import os
print(os.path.exists("/usr/share/doc"), os.path.exists("/usr/share"))'; }
stopping_image() { # busybox, told to work in a folder that no layer has, and to be stopped by SIGINT
  PYTHONPATH=tests/oci python3 - "$T/stopping" <<'END'
import sys
from servers import Image, make_layer
with open("/usr/bin/busybox", "rb") as f:
    layer = make_layer({"bin/busybox": f.read()}, 0o755)
script = """trap 'echo interrupted; exit' INT
trap 'echo terminated; exit' TERM
echo $(pwd) $(/bin/busybox id -u)
while :; do /bin/busybox sleep 0.2; done"""
Image([layer], run={"Entrypoint": ["/bin/busybox", "sh", "-c"], "Cmd": [script], "User": "1000:1000",
                    "WorkingDir": "/made/for/it", "StopSignal": "SIGINT"}).write_layout(sys.argv[1], "stopping:v1")
END
  "$B/cubby" image load -q "$T/stopping"
}
folder_and_stop_signal() {
  stopping_image || return 1
  code_is 124 run --timeout 4s stopping:v1 </dev/null >"$T/out" || { cat "$T/out"; return 1; }
  [ "$(cat "$T/out")" = "/made/for/it 1000
interrupted" ] || { cat "$T/out"; return 1; }
}
a_disk() { # 100 MB on a box of 128 MiB
  says '100000000 False' run -u root -m 128M --disk 1G example/app:v1 -c 'import os
with open("/big", "wb") as f:
    for _ in range(100): f.write(bytes(1000000))
os.sync()
print(os.stat("/big").st_size, os.path.exists("/home/none"))'
}
clean_images() {
  local image
  for image in "$CUBBY_HOME"/images/rootfs/*.ext4; do /sbin/e2fsck -fn "$image" || return 1; done
}
shared_layers() { # the second image has the layers of the first: its manifest and configuration are all that comes
  [ "$(grep -c 'GET /v2/example/app/blobs' "$T/registry.log")" = 1 ]
}
two_at_once() { # two boxes of one image that neither has seen
  "$B/cubby" image prune --all || return 1
  local before
  before=$(grep -c 'GET /v2/library/python/blobs' "$T/registry.log")
  run -q python:slim python -c 'print(1)' >"$T/a" 2>"$T/ea" </dev/null &
  local other=$!
  says 2 run -q python:slim python -c 'print(2)' || return 1
  wait "$other" || { cat "$T/ea"; return 1; }
  [ "$(cat "$T/a")" = 1 ] && [ $(($(grep -c 'GET /v2/library/python/blobs' "$T/registry.log") - before)) = 3 ]
}
no_such_tag() { refused 125 'docker.io/library/python:nosuch' run python:nosuch; }
nothing_is_left_of_pulls() { [ -z "$(find "$CUBBY_HOME"/images/{partial,leases} "$CUBBY_HOME/boxes" -type f)" ] && nothing_left; }

plan 17
check "cubby run python:slim -- python -c 'print(2+2)'" first_run
check 'a warm run asks no registry and merges nothing' warm_run
check 'the log tells of each topic when it is asked to' log_topics
check "the image's own command" own_command
check "words for the image's entrypoint" arguments_of_the_entrypoint
check "the image's environment, folder and user" configuration
check 'options go before it' options_go_before_it
check 'a program on stdin' program_on_stdin
check "the program's exit code" code_of_python
check 'what a layer takes away is gone' what_a_layer_takes_away_is_gone
check "the image's folder is made, and its stop signal ends its command" folder_and_stop_signal
check 'more on a disk than there is memory' a_disk
check 'of an image that shares layers only the configuration was downloaded' shared_layers
check 'e2fsck finds the images clean' clean_images
check 'two boxes at once download each layer once' two_at_once
check 'a tag that is not there' no_such_tag
check 'nothing is left' nothing_is_left_of_pulls
