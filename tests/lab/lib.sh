# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# For the tests that run guests in the lab. A test is a function that fails with a code other than 0; what it prints
# is shown then.

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
B=$PWD/build
T=$(mktemp -d /tmp/cubby-lab.XXXXXX)
export XDG_RUNTIME_DIR=$T/run
mkdir -p "$XDG_RUNTIME_DIR"
chmod 700 "$XDG_RUNTIME_DIR"
trap 'rm -rf "$T"' EXIT
count=0

plan() { echo "1..$1"; }

unstick() {
  sleep "${STUCK_AFTER:-180}"
  echo "no end within ${STUCK_AFTER:-180} s:"
  ps --ppid 2 -p 2 -N -o pid,ppid,stat,wchan:24,etimes,args
  for p in $(pgrep -x 'cubby|cubby-vmm'); do grep -H . "/proc/$p/task/"*/{comm,wchan,stack,syscall}; done
  pkill -KILL -x 'cubby|cubby-vmm'
}

check() { # NAME FUNCTION [ARG…]
  local name=$1
  shift
  count=$((count + 1))
  unstick >>"$T/log" 2>&1 & # a test that hangs fails alone, and says where its processes are
  local dog=$! failed=0
  "$@" >"$T/log" 2>&1 || failed=1
  kill $dog 2>/dev/null && wait $dog 2>/dev/null
  if [ $failed = 0 ]; then
    echo "ok $count - $name"
  else
    sed 's/^/# /' "$T/log"
    echo "not ok $count - $name"
  fi
}

run() { "$B/cubby" run "$@"; }

code_is() { # CODE COMMAND…
  local want=$1 got
  shift
  "$@"
  got=$?
  [ "$got" = "$want" ] || { echo "exit code $got, not $want"; return 1; }
}

# No VMM, no box folder, no socket is left. A VMM that was told to stop gets a moment.
nothing_left() {

  for _ in $(seq 50); do
    pgrep -x cubby-vmm >/dev/null || break
    sleep 0.2
  done
  ! pgrep -ax cubby-vmm || return 1
  local left
  left=$(find "$XDG_RUNTIME_DIR" -mindepth 2 \( -type d -o -type s \) 2>/dev/null)
  [ -z "$left" ] || { echo "left behind: $left"; return 1; }
}

# Debian's Python as library/python:slim in a real registry, which is the mirror of docker.io here, so that references are
# those of a user with internet. Sets port, and registry to its pid; its log is $T/registry.log.
registry() {
  local data
  data=$(readlink -f "$B/python-registry")
  [ -d "$data/docker" ] || { echo "Bail out! $B/python-registry is not there (make python-registry)"; exit 1; }
  export CUBBY_HOME=$T/home XDG_CONFIG_HOME=$T/config
  port=5000
  mkdir -p "$XDG_CONFIG_HOME/cubby"
  echo "{\"registries\": {\"docker.io\": {\"mirrors\": [\"http://127.0.0.1:$port\"]}}}" >"$XDG_CONFIG_HOME/cubby/config.json"
  cat >"$T/registry.yml" <<END
{version: 0.1, log: {level: error}, storage: {filesystem: {rootdirectory: $data}}, http: {addr: "127.0.0.1:$port"}}
END
  OTEL_TRACES_EXPORTER=none docker-registry serve "$T/registry.yml" >"$T/registry.log" 2>&1 &
  registry=$!
  trap 'kill $registry; rm -rf "$T"' EXIT
  for _ in $(seq 300); do
    if curl -fs "http://127.0.0.1:$port/v2/" >/dev/null; then break; fi
    sleep 0.2
  done
}

# Fails with CODE, says PATTERN in one line on stderr, leaves nothing.
refused() { # CODE PATTERN COMMAND…
  local want=$1 pattern=$2
  shift 2
  code_is "$want" "$@" 2>"$T/err" </dev/null || { cat "$T/err"; return 1; }
  cat "$T/err"
  [ "$(grep -c . "$T/err")" -le 2 ] || { echo "more than a line and a hint"; return 1; }
  grep -qE -- "$pattern" "$T/err" || { echo "does not say: $pattern"; return 1; }
  nothing_left
}
