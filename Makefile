# make run    serves vhosts.example on http://127.0.0.1:8080/
# make test   runs every check and test
# make fuzz   tries made-up messages for FUZZ seconds, other ones each time
# They build their own virtual environment; PYTHON, PORT and FUZZ may be set.

PYTHON ?= python3
PORT ?= 8080
FUZZ ?= 60
FUZZED = $(addprefix tests/engine/,test_http1_fuzz.py test_h2_fuzz.py test_hpack.py::test_strings \
	test_hpack.py::test_against_another_decoder test_h2fields.py::test_memos_against_fresh_reading)
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: run test lint docs bench fuzz clean

run: $(VENV)/run
	$(BIN)/twistd -n web-mix --vhosts vhosts.example --port $(PORT)

test: lint
	$(BIN)/python -m pytest

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: $(VENV)/test
	end=$$(( $$(date +%s) + $(FUZZ) )); \
	while [ $$(date +%s) -lt $$end ]; do \
		MIXWEB_FUZZ=100 $(BIN)/python -m pytest -q $(FUZZED) || exit 1; \
	done

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
