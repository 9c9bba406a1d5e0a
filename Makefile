# Every target does its own set-up: Go modules, and QEMU and a kernel from the
# Debian archive unpacked into a per-user cache. Nothing is installed.

GO      ?= go
export CGO_ENABLED = 0

# One factor for all deadlines; raise it on a slow machine.
TIMEOUT ?= 50m

.PHONY: help build run shell test test-integration bench fuzz lint sample-eif toolchain clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/nitrolab with the guest programs inside
	@scripts/build

run: build ## boot the sample enclave and verify its attestation document
	@bin/nitrolab demo

shell: build ## a shell in a parent instance, where nitro-cli starts enclaves
	@bin/nitrolab shell

test: ## the quick tests: no virtual machine
	$(GO) test -short ./...

test-integration: build ## all tests, with real QEMU, kernel and drivers
	@bin/nitrolab toolchain
	$(GO) test -timeout $(TIMEOUT) ./...

bench: ## print the benchmarks
	$(GO) test -short -run '^$$' -bench . -benchmem ./...

fuzz: ## run every fuzz target for FUZZTIME (10s)
	@scripts/fuzz

lint: ## gofmt, go vet, staticcheck, go mod tidy
	@scripts/lint/run

sample-eif: build ## write the sample enclave image to OUT=file
	@test -n "$(OUT)" || { echo "make sample-eif: OUT is empty; say where to write the image: make sample-eif OUT=sample.eif" >&2; exit 2; }
	@bin/nitrolab eif sample --output-file "$(OUT)"

toolchain: build ## show (and fetch once) the QEMU and kernel in use
	@bin/nitrolab toolchain

clean: ## remove what was built here
	rm -rf bin
