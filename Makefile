# `make` prints what there is. Every target works on a fresh clone: it sets up what it needs first.

# A Python to make .venv with; empty: the first one that is new enough.
PYTHON ?=
BIN := .venv/bin
STAMP := .venv/.locked
CODE := gitopsd tests tools benchmarks
CORE := domain kube pipeline webhooks
PYTEST := $(BIN)/pytest
ARGS ?=
# Processes that share the tests of one run: they wait for servers more than they compute.
WORKERS ?= 3
INFO ?= build/cluster.json

.DEFAULT_GOAL := help
.PHONY: help setup demo lint format types servers envtest test test-unit coverage cluster e2e mutants bench \
        lock diagram verbs schema clean

help: ## Print this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: $(STAMP) ## Make .venv from the lock file

$(STAMP): requirements/dev.txt pyproject.toml
	@sh tools/setup.sh $(PYTHON)

lint: $(STAMP) ## Check style, imports and spelling
	$(BIN)/ruff check $(wildcard $(CODE))
	$(BIN)/ruff format --check $(wildcard $(CODE))
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell

format: $(STAMP) ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix $(wildcard $(CODE))
	$(BIN)/ruff format $(wildcard $(CODE))

types: $(STAMP) ## Check types (mypy, strict)
	$(BIN)/mypy $(wildcard $(CODE))

servers: ## Install the servers that the tests start (Debian, Ubuntu; as root)
	@sh tools/install-servers.sh

envtest: ## Build etcd, the Kubernetes control plane and helm for the tests (once)
	@sh tests/envtest/build.sh
	@sh tests/envtest/build.sh helm

demo: $(STAMP) ## Play releases and rollbacks on this machine; no cluster is needed
	@if [ -t 1 ]; then $(BIN)/gitopsd demo $(ARGS); else $(BIN)/gitopsd demo --headless $(ARGS); fi

test: $(STAMP) servers envtest ## Run every test there is
	sh tools/own-network.sh $(PYTEST) --numprocesses=$(WORKERS) --junitxml=build/junit/tests.xml $(ARGS)

test-unit: $(STAMP) ## Run the tests of the core alone, in seconds
	$(PYTEST) tests/unit --junitxml=build/junit/unit.xml $(ARGS)

coverage: $(STAMP) ## Fail when the unit tests miss a branch of the core
	$(PYTEST) tests/unit $(CORE:%=--cov=gitopsd.%) --cov-report=term-missing --cov-fail-under=100 $(ARGS)

cluster: $(STAMP) envtest ## Run the tests' cluster in the foreground; INFO=FILE gets its addresses
	$(BIN)/python -m tests.support.cluster --info $(INFO)

# A kubeconfig that lies in the environment is not meant: the cluster has to be named.
e2e: $(STAMP) ## Play the five systems on a cluster of yours: KUBECONFIG=FILE REGISTRY=URL
	$(BIN)/python -m tests.support.systems.e2e --registry "$(REGISTRY)" \
		--kubeconfig "$(if $(filter command,$(origin KUBECONFIG)),$(KUBECONFIG))" $(ARGS)

mutants: $(STAMP) ## Break the core on purpose and count the breaks that no unit test sees
	$(BIN)/python -m tools.mutants $(ARGS)

bench: $(STAMP) ## Measure; ONLY=NAME for one benchmark
	$(BIN)/python -m benchmarks $(ONLY)

lock: $(STAMP) ## Write the lock files again (UPGRADE=1 for the newest versions)
	sh tools/lock.sh

diagram: $(STAMP) ## Write the state diagram from the machine's table
	$(BIN)/python -m tools.diagram

verbs: $(STAMP) ## Write what people can do where from the table of verbs
	$(BIN)/python -m tools.verb_page

schema: $(STAMP) ## Write the JSON schemas of the configuration files
	$(BIN)/gitopsd schema --write config/schemas

clean: ## Remove what the tools made (not .venv)
	rm -rf build .mypy_cache .ruff_cache .hypothesis .import_linter_cache
