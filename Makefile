# Thin: the work is in scripts/. Each target installs what it needs on a bare Debian machine that has Rust.
.PHONY: run test lint bench advisories

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

# Needs the advisory database from the network, so it stands apart from `test`.
advisories:
	@scripts/install.sh deny
	@PATH="$$PWD/.tools/bin:$$PATH" cargo deny check advisories
