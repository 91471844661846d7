# Thin: the work is in scripts/. Each target installs what it needs on a bare Debian machine that has Rust.
.PHONY: run test lint bench loadtest advisories

run:
	@scripts/install.sh build
	@cargo run --release --bin sotto -- $(ARGS)

test:
	@scripts/install.sh build deny test
	@scripts/test.sh

lint:
	@scripts/install.sh build deny test
	@scripts/test.sh format clippy docs deny types

bench:
	@scripts/install.sh build
	@cargo bench --workspace

# A call of eight with sound and picture through a relay of this build, which must lose nothing.
loadtest:
	@scripts/install.sh build
	@cargo build --release --workspace --bins
	@"$${CARGO_TARGET_DIR:-target}/release/sotto-loadtest" meeting --spawn --participants 8 --duration 20s \
		--fail-if 'decrypt_failures>0' 'loss>0' \
		--json target/loadtest/report.json --html target/loadtest/report.html $(ARGS)

# Needs the advisory database from the network, so it stands apart from `test`.
advisories:
	@scripts/install.sh deny
	@PATH="$$PWD/.tools/bin:$$PATH" cargo deny check advisories
