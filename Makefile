# Everything a contributor runs. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Holds the checksum of what was installed last, so that nothing is done twice.
STAMP := $(VENV)/.installed

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Make .venv with everything, pinned by hash; quick when nothing changed
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "error: $(PYTHON) not found. Install Python 3.11 or newer, or set PYTHON=/path/to/python3." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $$("$(PYTHON)" --version) is too old; kubewitness needs 3.11 or newer. Set PYTHON=/path/to/python3." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: $(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@wanted="$$(cat requirements-dev.txt pyproject.toml | cksum) $(CURDIR)"; \
	if [ "$$(cat $(STAMP) 2>/dev/null || true)" != "$$wanted" ] || ! $(BIN)/python -c '' 2>/dev/null; then \
	  echo "Setting up $(VENV) ..."; \
	  $(BIN)/python -c '' 2>/dev/null || "$(PYTHON)" -m venv --clear $(VENV); \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.txt; \
	  $(BIN)/python -m pip check --disable-pip-version-check; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .; \
	  echo "$$wanted" > $(STAMP); \
	fi

.PHONY: demo
demo: setup ## Try it: proxy and sandbox cluster; CONTEXT=name fronts a cluster of yours
	@exec $(BIN)/kubewitness demo $(if $(CONTEXT),--context "$(CONTEXT)")

.PHONY: test
test: setup ## Run the tests that need nothing but this machine
	@$(BIN)/pytest -q -n auto --dist worksteal --ignore tests/e2e --ignore tests/faults

.PHONY: faults
faults: setup ## Kill it, fill its disk, stop its database: nothing recorded may be lost
	@$(BIN)/pytest -q tests/faults

.PHONY: faults-long
faults-long: setup ## The same at release size (hours); writes tests/faults/EVIDENCE.md
	@$(BIN)/python -m tests.faults

.PHONY: e2e
e2e: setup ## Run the same product against a real cluster with real pods
	@$(BIN)/python -m tests.deploy.image  # outside: the cluster's network namespace reaches no mirror
	@$(BIN)/python -m tests.cluster run -- $(BIN)/pytest tests/e2e -q

.PHONY: cluster
cluster: setup ## Open a shell in a real cluster, KUBECONFIG set
	@$(BIN)/python -m tests.cluster shell

.PHONY: bench
bench: setup ## Measure against nginx, kubectl proxy and Go, and the index; writes tests/bench/*.md
	@$(BIN)/python -m tests.bench
	@$(BIN)/python -m tests.bench database --events $(or $(EVENTS),1000000)

.PHONY: bench-index
bench-index: setup ## The index alone: fill and search it, both databases; EVENTS=10000000 for long
	@$(BIN)/python -m tests.bench database --events $(or $(EVENTS),1000000)

.PHONY: fmt
fmt: setup ## Format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: lint
lint: setup ## Check format and rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

.PHONY: types
types: setup ## Check types, strictly
	@$(BIN)/mypy

.PHONY: arch
arch: setup ## Check that imports go one way
	@$(BIN)/lint-imports

.PHONY: docs
docs: setup ## Write the generated tables, the chart's values and README, and the manifests
	@$(BIN)/python -m tests.write_tables
	@$(BIN)/python -m tests.chart.writing

.PHONY: dist
dist: setup ## Build wheel and sdist into dist/, the same bytes for the same commit
	@rm -rf dist
	@export SOURCE_DATE_EPOCH="$$(git log -1 --format=%ct)"; \
	$(BIN)/hatchling build -t sdist -d dist && $(BIN)/hatchling build -t wheel -d dist

.PHONY: image
image: ## Build the container image with docker or buildah; BASE=… for another base
	@"$$(command -v docker || command -v buildah)" build -f deploy/Dockerfile -t kubewitness \
	  $(if $(BASE),--build-arg BASE="$(BASE)") .

.PHONY: sbom
sbom: setup ## Write build/kubewitness.cdx.json, what an installation is made of
	@mkdir -p build
	@$(BIN)/python deploy/sbom.py > build/kubewitness.cdx.json
	@echo "wrote build/kubewitness.cdx.json (an image carries its own: /opt/kubewitness/sbom.cdx.json)"

.PHONY: check
check: lint types arch test faults e2e ## All of it, as continuous integration does
