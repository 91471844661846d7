#!/bin/sh
# Runs the browser tests in a network namespace of their own, which vanishes with its last process.
# Firefox gathers no loopback candidate, so media needs an address of its own: 10.77.0.1 on a veth.
# Usage: tests/browser/run.sh [file.test.js ...]      SOTTO_BIN names another binary.
set -eu
cd "$(dirname "$0")"
PATH="$PWD/../../.tools/node:$PATH"
: "${SOTTO_BIN:=$(cd ../.. && cargo metadata --format-version 1 --no-deps --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/sotto}"
export PATH SOTTO_BIN
[ $# -gt 0 ] || set -- *.test.js
rm -rf out
mkdir -p out

root=--map-root-user
[ "$(id -u)" != 0 ] || root=
# shellcheck disable=SC2016,SC2086
exec unshare $root --net --pid --fork --mount-proc --kill-child sh -uc '
    set -e
    ip link set lo up
    # an IPv6 address that comes a second later would make Chromium break off loads because the network changed
    echo 1 2>/dev/null >/proc/sys/net/ipv6/conf/default/disable_ipv6 || true
    ip link add v0 type veth peer name v1
    ip addr add 10.77.0.1/24 dev v0
    ip link set v0 up
    ip link set v1 up
    ip route add default dev v0
    # without any sound device the clock of a Firefox AudioContext never starts; this one swallows what it is played
    pulse=$(mktemp -d)
    trap "kill \$!; rm -rf $pulse" EXIT
    export SOTTO_TEST_PULSE=unix:$pulse/socket
    XDG_RUNTIME_DIR=$pulse pulseaudio -n --daemonize=no --exit-idle-time=-1 --use-pid-file=no --disable-shm=yes --log-level=0 \
        -L module-null-sink -L "module-native-protocol-unix socket=$pulse/socket auth-anonymous=1" >/dev/null 2>&1 &
    node --no-warnings --test --test-concurrency=1 --test-timeout=480000 --test-reporter=./harness/reporter.js "$@"
' sh "$@"
