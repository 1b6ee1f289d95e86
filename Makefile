# `make demo` shows what it does, `make test` holds it against real servers. `make help` lists the rest.

CARGO ?= cargo
GO ?= go
PEERS := $(or $(CARGO_TARGET_DIR),target)/peers
DISTRIBUTION := v3.1.2
CRANE := v0.22.1
ORAS := v1.3.0
VERSITYGW := v1.8.0
OLD ?=
NEW ?=

.PHONY: help build demo test unit check msrv deny fuzz conformance reference readers bench reflink peers clean

help:
	@echo 'make demo [OLD=… NEW=…]  convert, serve, pull an image and its update, show both ledgers'
	@echo 'make test                every test, with real registries (builds distribution once)'
	@echo 'make unit                the tests that need no other programs than zstd'
	@echo 'make check               formatting, clippy and rustdoc, warnings denied'
	@echo 'make msrv                that it compiles with the oldest Rust that Cargo.toml promises'
	@echo 'make deny                licences, duplicates, sources and known faults of what is locked (cargo-deny)'
	@echo 'make fuzz [MINUTES=…]    every fuzz target for a minute, or so many (nightly Rust, cargo-fuzz)'
	@echo 'make conformance         against other readers and writers, the reference first; counts what was compared (root, Go)'
	@echo 'make reference           the programs of the reference, past and present, that it runs (Go)'
	@echo 'make readers [OLD=… NEW=…]  skopeo, podman, umoci, containerd and docker read a store (root; READERS_ROOT=DIR has them)'
	@echo 'make bench [OLD=… NEW=…]  times and bytes, side by side with zstd and the reference, and of the parts alone'
	@echo 'make reflink [OLD=… NEW=…]  disk use of pulls on XFS and btrfs (root, xfsprogs, btrfs-progs)'
	@echo 'make peers               the registry and the tools that the tests run against'

build:
	$(CARGO) build --locked --release

demo: build
	tests/demo.sh $(if $(OLD),'$(OLD)') $(if $(NEW),'$(NEW)')

test: peers
	$(CARGO) test --locked
	tests/as-root.sh
	tests/given-peers.sh

unit:
	$(CARGO) test --locked -- --skip peers::

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --test conformance -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps

# A target folder of its own, so that the two compilers do not undo each other's work.
msrv: MSRV := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
msrv:
	@rustup run $(MSRV) cargo --version >/dev/null 2>&1 || { echo 'Rust $(MSRV) is missing: rustup toolchain install $(MSRV) --profile minimal' >&2; exit 1; }
	CARGO_TARGET_DIR=$(or $(CARGO_TARGET_DIR),target)/msrv rustup run $(MSRV) cargo check --locked

deny:
	tests/deny.sh

fuzz:
	MINUTES=$(or $(MINUTES),1) tests/fuzz/run.sh $(TARGETS)

conformance: reference
	tests/conformance/run.sh

reference:
	GO='$(GO)' tests/interop/build.sh

readers: build
	tests/readers.sh $(if $(OLD),'$(OLD)') $(if $(NEW),'$(NEW)')

bench: build
	python3 tests/bench/run.py $(if $(OLD),'$(OLD)') $(if $(NEW),'$(NEW)')
	$(CARGO) bench --locked --bench parts

reflink: build
	tests/reflink.sh $(if $(OLD),'$(OLD)') $(if $(NEW),'$(NEW)')

peers: $(PEERS)/registry-$(DISTRIBUTION) $(PEERS)/crane-$(CRANE) $(PEERS)/oras-$(ORAS) $(PEERS)/versitygw-$(VERSITYGW)

# The stamps have the versions, so that another version is built when this file asks for it.
$(PEERS)/registry-$(DISTRIBUTION): PACKAGE := github.com/distribution/distribution/v3/cmd/registry@$(DISTRIBUTION)
$(PEERS)/crane-$(CRANE): PACKAGE := github.com/google/go-containerregistry/cmd/crane@$(CRANE)
$(PEERS)/oras-$(ORAS): PACKAGE := oras.land/oras/cmd/oras@$(ORAS)
$(PEERS)/versitygw-$(VERSITYGW): PACKAGE := github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW)
$(PEERS)/%:
	@command -v $(GO) >/dev/null || { echo 'go is missing: peers are built with Go 1.25 or newer (https://go.dev)' >&2; exit 1; }
	mkdir -p $(PEERS)
	cd $(PEERS) && CGO_ENABLED=0 GOBIN="$$PWD" $(GO) install $(PACKAGE)
	touch $@

clean:
	$(CARGO) clean
