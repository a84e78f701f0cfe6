# make demo and make test do all the set-up that they need; docs/testing.md tells what each target does.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
GOBUILD := CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '$(LDFLAGS)'

# Packages with more than one goroutine, for the race detector.
RACE := ./cmd/... ./internal/capture/... ./internal/corpus ./internal/enrich ./internal/keeper ./internal/output/pcapng ./internal/process \
	./internal/web

# Those of them that take long with it, so that they run in short.
RACE_SHORT := ./internal/output/metrics ./internal/own ./internal/pipeline ./internal/ship ./internal/store/query ./internal/store/wal

# The largest that the stripped program may become.
MAX_MB := 39

# How long each fuzz target runs, in make fuzz and in make test-full.
FUZZTIME := 1s
LONG_FUZZTIME := 1m

# Flags of the measurements: make bench BENCH='-short -only small'
BENCH :=

# The web UI, as it gets into the program.
UI := internal/web/ui/dist/index.html.gz

# What has OpenSSL write its keys for those who run programs (internal/keytap), for another architecture as in
# make shim GOARCH=arm64 CC=aarch64-linux-gnu-gcc
SHIM := internal/keytap/shim/dist/culprit-keylog-$(or $(GOARCH),$(shell go env GOARCH)).so

# Where make lab keeps its recordings, and how many exchanges of each situation there are.
LAB := bin/lab
LAB_EXCHANGES := 200

.PHONY: build shim demo test test-ui test-full lab lab-judge bench bench-live bench-ship bench-store bench-web screenshots lint fuzz deps clean

build: $(UI)
	$(GOBUILD) -o bin/culprit ./cmd/culprit

$(UI): .ci/ui $(filter-out web/node_modules/%,$(wildcard web/*.* web/.npmrc)) $(shell find web/src -type f)
	.ci/ui

shim:
	@if command -v $(CC) >/dev/null; then $(MAKE) -s --no-print-directory $(SHIM); else echo 'no C compiler for the key-log shim'; fi

$(SHIM): internal/keytap/shim/keylog.c internal/keytap/shim/flags
	$(CC) $$(cat internal/keytap/shim/flags) -o $@ $<

demo: build
	bin/culprit trace -r testdata/demo.pcap --stats
	testdata/sample/demo.sh bin/culprit

test: deps build
	go test -timeout 20m ./...
	go test -timeout 20m -race $(RACE)
	go test -timeout 20m -race -short $(RACE_SHORT)
	go test -timeout 20m -race -short -run 'Sync|Reader|SecondWriter|Retention' ./internal/store/embedded
	$(MAKE) test-ui

# Browser tests of the web UI; web/tests/README.md.
test-ui: deps build
	cd web && CULPRIT_BIN=../bin/culprit npm test --silent

test-full: deps lint build
	cd web && CULPRIT_SOAK=1 CULPRIT_BIN=../bin/culprit npm test --silent
	CULPRIT_SOAK=1 go test -count=1 -timeout 4h -v ./...
	go test -count=1 -timeout 4h -race ./...
	$(MAKE) lab
	.ci/fuzz $(LONG_FUZZTIME)
	go run ./bench
	go run ./bench/ship
	go run ./bench/store
	go run ./bench/store -n 100000000

# Makes what makes HTTP slow or fail, records it, and compares culprit's verdicts with the truth; docs/laboratory.md.
lab: deps build
	go build -o bin/situations ./internal/lab/cmd/situations
	bin/situations record -n $(LAB_EXCHANGES) $(LAB)
	bin/situations stack $(LAB)
	$(MAKE) lab-judge

# The second half alone, on the recordings that are there.
lab-judge: build
	go build -o bin/situations ./internal/lab/cmd/situations
	@failed=0; bin/situations judge $(LAB) || failed=1; bin/situations links $(LAB) || failed=1; exit $$failed

bench:
	go run ./bench $(BENCH)

bench-live:
	go run ./bench/live $(BENCH)

bench-ship:
	go run ./bench/ship $(BENCH)

bench-store:
	go run ./bench/store $(BENCH)

# The pictures of the guides.
screenshots: deps build
	node docs/images/make.mjs

bench-web: deps build
	cd web && node bench/bench.mjs --sample && node bench/bench.mjs

lint: $(UI)
	cd web && npm run --silent lint
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt -w these:" $$unformatted; exit 1; fi
	go vet ./...
	cd internal/lab/otelcol && go vet ./...
	go tool staticcheck ./...
	GOOS=darwin GOARCH=arm64 go vet ./...
	GOOS=darwin GOARCH=arm64 $(GOBUILD) -o /dev/null ./cmd/culprit
	GOOS=linux GOARCH=arm64 $(GOBUILD) -o /dev/null ./cmd/culprit
	GOOS=linux GOARCH=amd64 $(GOBUILD) -o bin/culprit-size ./cmd/culprit
	@size=$$(wc -c <bin/culprit-size); rm bin/culprit-size; echo "linux/amd64: $$size bytes"; \
		if [ "$$size" -ge $$(($(MAX_MB) * 1000000)) ]; then echo "the program must stay under $(MAX_MB) MB"; exit 1; fi

fuzz:
	.ci/fuzz $(FUZZTIME)

deps:
	@.ci/deps

clean:
	rm -rf bin web/node_modules web/test-results
	find internal/web/ui/dist internal/keytap/shim/dist -type f ! -name .gitkeep -delete
