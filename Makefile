# Two commands show everything: `make run` and `make test`.
SHELL := /bin/sh
GO ?= go
BIN := bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X keysetd.example/internal/version.Version=$(VERSION)
BENCHFLAGS ?=
FUZZTIME ?= 10m

.PHONY: help run build test lint bench soak generate clean deps-run deps-test

help: ## what there is to make
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' Makefile

run: deps-run build ## a SoftHSM token, keys and the daemon under .dev/; prints a line to paste
	@$(BIN)/keysetd dev

build: ## bin/keysetd and bin/keysetctl
	$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/keysetd ./cmd/keysetd
	CGO_ENABLED=0 $(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/keysetctl ./cmd/keysetctl

test: deps-test ## every test, with the race detector, on a real SoftHSM
	$(GO) test -race -timeout 9m ./...
	cd interop && $(GO) test -race -timeout 5m ./...

lint: ## gofmt, vet, staticcheck
	@out=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); [ -z "$$out" ] || { echo "gofmt these files: $$out"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	cd interop && $(GO) vet ./... && $(GO) tool -modfile=../go.mod staticcheck ./...

bench: deps-run build ## a C loop over the token beside the daemon: throughput and CPU for each signature
	gcc -O2 -Wall -Wextra -Werror -Wno-cast-function-type -pthread -Ihsm/worker -o $(BIN)/cloop scripts/bench/cloop/cloop.c hsm/worker/native.c -ldl
	$(GO) run ./scripts/bench -keysetd $(BIN)/keysetd -cloop $(BIN)/cloop $(BENCHFLAGS)

soak: deps-test ## what takes longer than a test may: a thousand failures, long outages, each fuzz target for FUZZTIME
	KEYSETD_SOAK=1 $(GO) test -count=1 -timeout 60m ./hsm/hsmtest ./rotation ./cmd/keysetd
	scripts/fuzz.sh $(FUZZTIME)

generate: ## the Go code of api/v1/keysetd.proto, linted and formatted
	scripts/generate.sh

clean: ## remove bin/ (the token and keys under .dev/ stay)
	rm -rf $(BIN)

deps-run:
	@scripts/install-deps.sh run

deps-test:
	@scripts/install-deps.sh test
