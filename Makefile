# make run    serves vhosts.example on http://127.0.0.1:8080/
# make test   runs every check and test
# Both build their own virtual environment; PYTHON and PORT may be set.

PYTHON ?= python3
PORT ?= 8080
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: run test lint docs bench clean

run: $(VENV)/run
	$(BIN)/twistd -n web-mix --vhosts vhosts.example --port $(PORT)

test: lint
	$(BIN)/python -m pytest

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/test
	$(BIN)/python docs/tables.py

bench: $(VENV)/run
	$(BIN)/python bench/bench.py

clean:
	rm -rf $(VENV)

$(VENV)/run: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[templates]'
	touch $@

$(VENV)/test: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all,test]'
	touch $@ $(VENV)/run
