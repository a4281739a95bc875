# The two commands are `make run` and `make test`; each does all of its own set-up.
PYTHON ?= python3
BIN := .venv/bin

run: .venv/.installed
	$(BIN)/twistd -n --pidfile= multid -c config/multid.yaml

test: .venv/.tools
	$(BIN)/pytest $(ARGS)

lint: .venv/.tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

coverage: .venv/.tools
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -q $(ARGS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --fail-under=95

campaigns: .venv/.tools
	$(BIN)/pytest -m campaign $(ARGS)

system: .venv/.tools
	$(BIN)/pytest -m system $(ARGS)

docs: .venv/.tools
	$(BIN)/python docs/generate.py

bench: .venv/.tools
	$(BIN)/python -m bench $(ROW)

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/.tools: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ .venv/.installed

clean:
	rm -rf .venv dist build

.PHONY: run test lint coverage campaigns system bench clean docs
