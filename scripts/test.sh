#!/bin/sh
# Runs the whole test suite, or the stages named; prints how long each took and stops at the first that fails.
# Usage: scripts/test.sh [format clippy docs deny types web rust browser]
set -u
cd "$(dirname "$0")/.."
PATH="$PWD/.tools/node:$PWD/.tools/bin:$PATH"
export PATH

format() { cargo fmt --all --check; }
clippy() { cargo clippy --workspace --all-targets --all-features -- -D warnings; }
docs() { RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps --all-features --document-private-items; }
deny() {
    cargo deny --log-level error --all-features check bans licenses sources || return
    # the test peers bring ring; the relay itself has one crypto provider, aws-lc-rs
    ! cargo tree --quiet --edges no-dev --invert ring 2>/dev/null | grep .
}
types() { node_modules/.bin/tsc --project web/jsconfig.json; }
web() { find tests/e2ee tests/web -name '*.test.js' | sort | xargs node --test; }
# one set of features throughout, so that nothing is compiled twice
rust() { cargo test --workspace --all-features --no-fail-fast; }
browser() { cargo test --quiet --workspace --all-features --no-run && tests/browser/run.sh; }

began=$(date +%s)
for stage in ${*:-format clippy docs deny types web rust browser}; do
    echo "== $stage"
    start=$(date +%s)
    $stage || { code=$?; echo "== $stage failed after $(($(date +%s) - start)) s"; exit $code; }
    echo "== $stage: $(($(date +%s) - start)) s"
done
echo "== all: $(($(date +%s) - began)) s"
