# Everything this project does is a target here; `make help` lists them. What is made goes into
# .venv and target; nothing outside this folder changes but the caches of cargo, pip and uv.
#
#   PYTHON   the interpreter .venv is made with (the first CPython >= 3.11 on PATH)
#   PROFILE  the cargo profile of the extension in .venv: release, or ci (links in less time)
#   SECONDS  how long `soak` takes
#   EXTENSIONS_PROFILE  the cargo profile of the example in Rust: ci, or release to measure it

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules

OLD_ENOUGH := import ensurepip, sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14 python3.15; do \
	$$p -c '$(OLD_ENOUGH)' 2>/dev/null && { echo $$p; break; }; done)
PROFILE ?= release
SECONDS ?= 300
EXTENSIONS_PROFILE ?= ci

VENV := .venv
BIN := $(VENV)/bin
TOOLS_READY := $(VENV)/.tools

# cargo check and clippy meet the interpreter the wheel is built for.
export PYO3_PYTHON := $(abspath $(BIN)/python)

.PHONY: help run build extensions test test-all fmt lint test-rust test-python conformance torture \
	torture-full soak refcounts asan loom fuzz miri downstream integration sdist audit bench \
	bench-count docs site clean

help: ## list the targets
	@awk -F ': .*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## run the example programs on oxloop and on asyncio, side by side
	$(BIN)/python examples/side_by_side.py

build: $(TOOLS_READY) ## build the extension and install it into .venv (PROFILE=ci links faster)
	@$(BIN)/python tools/install.py $(VENV) --profile $(PROFILE)

test: lint test-rust test-python conformance torture ## all checks on one interpreter

test-all: $(TOOLS_READY) ## Python tests and conformance on every interpreter there is
	$(BIN)/python tools/everywhere.py

fmt: $(TOOLS_READY) ## format the Rust and the Python, mend what ruff can mend
	cargo fmt --all
	$(BIN)/ruff check --quiet --fix-only .
	$(BIN)/ruff format .

lint: docs build ## formats, arrows between the crates, clippy, ruff, types, stubs against the package
	cargo fmt --all --check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python tools/check_arrows.py
	cargo clippy --workspace --all-targets -- -D warnings
	$(BIN)/python -m mypy.stubtest oxloop --mypy-config-file pyproject.toml \
		--allowlist tools/stubtest-allowlist.txt --allowlist tools/stubtest-private.txt
	$(BIN)/python -m mypy

test-rust: $(TOOLS_READY) ## the engine's tests, which need no Python
	if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --workspace && cargo test --quiet --workspace --doc; \
	else cargo test --quiet --workspace; fi

extensions: $(TOOLS_READY) ## build the example in Rust, and the module its tests need
	$(BIN)/python tools/extensions.py target/extensions --profile $(EXTENSIONS_PROFILE)

test-python: build extensions ## the tests of the tools and the contract tests
	OXLOOP_EXTENSIONS=target/extensions $(BIN)/python -m pytest tools tests

conformance: build ## CPython's own asyncio tests with oxloop put in
	$(BIN)/python tools/conformance.py

downstream: $(TOOLS_READY) ## test suites of released packages on asyncio and on oxloop (SUITES=...)
	$(BIN)/python tools/downstream.py $(SUITES)

integration: $(TOOLS_READY) ## real servers, clients and clusters on oxloop (PARTS=...)
	$(BIN)/python tests/integration/run.py $(PARTS)

sdist: $(TOOLS_READY) ## build the source distribution, install from it in a clean environment
	$(BIN)/python tools/sdist.py

NO_ADVISORIES := make audit: the advisories of RustSec cannot be fetched from GitHub, so whether a \
	crate has a known weakness was not looked up; licences and sources are in order
audit: $(TOOLS_READY) ## licences and known weaknesses of what is built in (installs cargo-deny)
	cargo deny --version >/dev/null 2>&1 || cargo install --locked --quiet cargo-deny
	cargo deny --all-features check bans licenses sources
	cargo deny --all-features fetch db || { printf '\n%s\n' "$(NO_ADVISORIES)" >&2; exit 1; }
	cargo deny --all-features check --disable-fetch advisories
	$(BIN)/python -m pip install --quiet --upgrade pip-audit
	mkdir -p target && $(BIN)/python -m pip freeze --exclude oxloop > target/audited.txt
	$(BIN)/python -m pip_audit --strict --no-deps --disable-pip --requirement target/audited.txt

torture: build ## try to break it: the quick form, a little of everything, the same each time
	$(BIN)/python tests/torture/run.py --seed $(or $(SEED),1)

torture-full: build ## the same, much more of everything: a quarter of an hour and more
	$(BIN)/python tests/torture/run.py --full

soak: build ## mixed load for SECONDS, and whether anything grows under it
	$(BIN)/python tests/torture/soak.py $(SECONDS)

refcounts: $(TOOLS_READY) ## repeat each test on a debug build of CPython: are references left behind?
	$(BIN)/python tools/refcounts.py $(DEBUG_PYTHON)

asan: $(TOOLS_READY) ## the Rust and Python tests under AddressSanitizer (a nightly; ARGS=... for pytest)
	$(BIN)/python tools/asan.py $(ARGS)

loom: ## what threads share, under a model checker: every interleaving
	CARGO_TARGET_DIR=target/loom RUSTFLAGS="--cfg loom" \
		cargo test --quiet --release --package oxloop-engine --test loom

FUZZERS := stream pump timers write_queue
fuzz: ## random operations against plain models, SECONDS each (a nightly; installs cargo-fuzz)
	cargo fuzz --version >/dev/null 2>&1 || cargo install --locked --quiet cargo-fuzz
	for name in $(FUZZERS); do \
		mkdir -p fuzz/corpus/$$name; \
		cargo +nightly fuzz run $$name fuzz/corpus/$$name crates/engine/tests/corpus/$$name -- \
			-max_total_time=$(or $(SECONDS),60) -max_len=1500 -timeout=20 -print_final_stats=1; \
	done

MIRI := MIRIFLAGS=-Zmiri-disable-isolation CARGO_TARGET_DIR=target/miri cargo +nightly miri
miri: ## unsafe code that makes no system call, in Rust's interpreter (a nightly with miri)
	@$(MIRI) --version >/dev/null 2>&1 || { \
		echo "this nightly has no miri: rustup +nightly component add miri rust-src" >&2; exit 1; }
	$(MIRI) test --package oxloop-os --lib name::
	$(MIRI) test --package oxloop-engine --test engine datagram

# An environment of its own: the peers, and a server that would choose them.
BENCH := target/bench
HOW ?= --rounds 5 --seconds 1
bench: $(TOOLS_READY) ## measure against other loops (ten minutes, HOW=...); writes docs/performance.md
	[[ -x $(BENCH)/env/bin/python ]] || $(BIN)/uv venv --quiet --seed --python $(BIN)/python $(BENCH)/env
	$(BENCH)/env/bin/python -m pip install --quiet --upgrade --group examples
	$(BIN)/python tools/install.py $(BENCH)/env --profile release
	$(BENCH)/env/bin/python bench/run.py --install $(HOW) --json $(BENCH)/figures.json
	$(BENCH)/env/bin/python bench/page.py $(BENCH)/figures.json

# Another one, for the counts are of one version.
COUNT := target/count
COUNTED_PYTHON ?= 3.14
bench-count: $(TOOLS_READY) ## instructions per operation, and whether they grew (valgrind; UPDATE=1 keeps)
	[[ -x $(COUNT)/env/bin/python ]] || \
		$(BIN)/uv venv --quiet --no-python-downloads --python $(COUNTED_PYTHON) $(COUNT)/env
	$(BIN)/python tools/install.py $(COUNT)/env --profile release
	$(COUNT)/env/bin/python bench/count.py $(if $(UPDATE),--update) $(ARGS)

docs: $(TOOLS_READY) ## links and Python examples in the documentation
	$(BIN)/python tools/check_docs.py

site: $(TOOLS_READY) ## build the documentation as a site, in target/site
	$(BIN)/python -m pip install --quiet --upgrade --group docs
	$(BIN)/zensical build --clean --strict -f zensical.toml

clean: ## remove everything that was made
	rm -rf $(VENV) target .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(TOOLS_READY): pyproject.toml
	@[[ -n "$(PYTHON)" ]] || { echo "no CPython >= 3.11 with venv found; say make PYTHON=..." >&2; exit 1; }
	[[ -x $(BIN)/python ]] || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --upgrade --group dev
	@touch $@
