# The two commands are `make run` and `make test`; each does all of its own set-up.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

run: $(VENV)/.installed
	$(BIN)/twistd -n --pidfile= multid -c config/multid.yaml

test: $(VENV)/.tools
	$(BIN)/pytest --numprocesses=auto $(ARGS)

lint: $(VENV)/.tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

coverage: $(VENV)/.tools
	rm -f .coverage .coverage.*
	-$(BIN)/coverage run -m pytest -q $(ARGS)  # whether the tests pass is for `make test` to say
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --fail-under=95

campaigns: $(VENV)/.tools
	$(BIN)/pytest -m campaign $(ARGS)

broken: $(VENV)/.tools
	$(BIN)/pytest -m broken $(ARGS)

system: $(VENV)/.tools
	$(BIN)/pytest -m system $(ARGS)

docs: $(VENV)/.tools
	$(BIN)/python docs/generate.py

bench: $(VENV)/.tools
	$(BIN)/python -m bench $(ROW)

# For the system, as root: a virtual environment below PREFIX, the command, the systemd unit, manual pages.
PREFIX ?= /opt/multid
BINDIR ?= /usr/local/bin
UNITDIR ?= /etc/systemd/system
DESTDIR ?=
DEB_PYTHON ?= /usr/bin/python3

install:
	PYTHON=$(DEB_PYTHON) PREFIX=$(PREFIX) BINDIR=$(BINDIR) UNITDIR=$(UNITDIR) DESTDIR=$(DESTDIR) packaging/install
	@echo "next: systemd-sysusers multid.conf && systemctl daemon-reload && systemctl enable --now multid"

deb:
	PYTHON=$(DEB_PYTHON) packaging/build-deb

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	$(BIN)/python -m compileall -q multid
	touch $@

$(VENV)/.tools: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) dist build

.PHONY: install deb run test lint coverage campaigns broken system bench clean docs
