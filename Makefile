# Targets for working on owctl, and for trying it. `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help demo demo-down venv test unit bench torture lint format picture man

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## run the whole stack on this machine, from nothing: engine, images, start, health, backup
	@scripts/demo up

demo-down: ## remove everything that `make demo` made
	@scripts/demo down

venv: ## make .venv with owctl and what the tests and linters need
	@scripts/venv dev

test: ## everything: linters, unit, engine and end-to-end tests
	@scripts/test

unit: venv ## the tests that need no engine: seconds
	@.venv/bin/pytest tests/unit

bench: ## compare with docker compose and shell pipelines, write docs/benchmarks.md (about 8 min)
	@scripts/bench

torture: ## kill owctl and engines, fill disks, damage backups; write docs/reliability.md (as root)
	@scripts/torture

lint: venv ## ruff, mypy and import-linter
	@scripts/lint

format: venv ## put the code into shape
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

picture: venv ## draw the documentation's pictures again
	@.venv/bin/python scripts/picture

man: venv ## write the manual, a page for each command, into build/man (`man -l build/man/owctl.1`)
	@.venv/bin/python scripts/man_pages.py build/man
