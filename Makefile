# Everything a newcomer needs: `make demo` and `make test`. Each target sets up what it uses; second runs skip it.

VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
PACKAGES := packages/langchain-openrouter packages/openrouter-gateway

# An active virtual environment or a user's PYTHONPATH must not leak into ours.
unexport VIRTUAL_ENV
unexport PYTHONPATH
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# What is installed may come through a proxy; what runs here talks to this machine only.
export NO_PROXY := 127.0.0.1,localhost,$(or $(no_proxy),$(NO_PROXY))
export no_proxy := $(NO_PROXY)

.DEFAULT_GOAL := help
.PHONY: help demo test conformance check format support bench lock clean

help:  ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: $(READY)  ## Stream a real answer through both packages: no key, no network
	@$(BIN)/python examples/demo.py

test: $(READY)  ## Unit, property and end-to-end tests
	$(BIN)/python -m pytest

conformance: $(READY)  ## Third-party clients, each in an environment of its own, against a running gateway
	$(BIN)/python -m pytest tests/conformance

check: $(READY)  ## Format, lint, types, import rules, repeated blocks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/pylint --rcfile pyproject.toml packages/*/src bench tests

format: $(READY)  ## Rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

support: $(READY)  ## Write docs/gateway/support.md from what the tests say they cover
	$(BIN)/python tests/support_page.py

bench: $(READY)  ## Measure CPU, latency and memory against reference servers (some minutes)
	$(BIN)/python bench/run.py

lock: $(READY)  ## Take current releases of every dependency into requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --python-version 3.11 \
		--all-extras --group pyproject.toml:dev $(PACKAGES:%=%/pyproject.toml) --output-file requirements.lock

clean:  ## Remove the environments and everything generated
	rm -rf .venv .venv-* .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage* bench/out
	find . -name __pycache__ -prune -exec rm -rf {} +

# The lock holds every dependency with its hashes; the two packages are installed editable on top.
$(READY): requirements.lock $(PACKAGES:%=%/pyproject.toml)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or run make PYTHON=/path/to/python"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "'$(PYTHON) -m venv' failed: on Debian and Ubuntu run apt-get install python3-venv"; exit 1; }
	@echo "Installing the locked dependencies into $(VENV) (once) ..."
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation $(PACKAGES:%=--editable %)
	@touch $@
