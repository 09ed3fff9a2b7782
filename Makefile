# One command for each thing: `make run` shows pykubelet at work, `make test` tests it.
SHELL := /bin/sh
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help run test lint type bench proto lock clean install install-dev

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

run: install ## Install what is missing, then run sample pods on a private containerd (root)
	@exec $(BIN)/pykubelet up $(ARGS)

test: install-dev ## Unit and integration tests (root; a private containerd)
	@$(BIN)/pytest $(ARGS)

lint: install-dev ## Style, formatting and the borders between rooms
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

type: install-dev ## Static types
	@$(BIN)/mypy

bench: install-dev ## Measure against bare CRI calls (root)
	@$(BIN)/python -m bench $(ARGS)

proto: install-dev ## Make the protobuf stubs anew
	@$(BIN)/python -m pykubelet.rpc.generate

lock: install-dev ## Resolve the dependencies anew and write requirements/
	@tools/lock

clean: ## Remove what the other commands made here
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

install:
	@tools/install run

install-dev:
	@tools/install dev
