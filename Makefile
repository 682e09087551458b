# Two commands: `make demo` shows the whole story, `make test` runs all tests.
# Both set up what they need from the pinned versions, once, beside this file.

PYTHON ?= python3
VENV := .venv
MLFLOW := .venv-mlflow
OLDEST := .venv-oldest
PIP := -m pip --disable-pip-version-check --quiet --quiet

.PHONY: demo test test-compat test-oldest lint setup soak benchmarks clean

demo: setup
	@$(VENV)/bin/python -m demo

# What stops clocks or runs whole Airflows runs alone, the rest two files at a time.
ALONE := tests/fault tests/system
IN_TWO := -m pytest --numprocesses 2 --dist loadfile

test: setup lint
ifdef TESTS
	@$(VENV)/bin/python -m pytest $(TESTS)
else
	@$(VENV)/bin/python $(IN_TWO) tests/unit tests/integration tests/packaging
	@$(VENV)/bin/python -m pytest $(ALONE)
endif

# Unit and system tests on the newest Airflow and on the oldest that is declared, with the oldest of our requirements.
test-compat: setup $(OLDEST)/.ready
	@for each in $(VENV) $(OLDEST); do \
	    echo "Testing in $$each …"; \
	    $$each/bin/python -m pytest $(or $(TESTS),tests/unit tests/system) || exit 1; \
	done

# Its short form: what touches Airflow, on the oldest.
TOUCHES_AIRFLOW := tests/unit/test_*.py $(foreach part,cli hooks listeners notifications sensors triggers,tests/unit/$(part)) \
    $(foreach part,actions api dispatcher_process listeners migrations reconciler savepoint,tests/integration/test_$(part).py) \
    tests/system/test_defaults.py

test-oldest: $(OLDEST)/.ready $(MLFLOW)/.ready
	@$(OLDEST)/bin/python $(IN_TWO) $(TOUCHES_AIRFLOW)

lint: $(VENV)/.ready
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo --config setup.cfg

soak: setup
	@$(VENV)/bin/python -m soak

benchmarks: setup
	@$(VENV)/bin/python -m benchmarks

setup: $(VENV)/.ready $(MLFLOW)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "Setting up $(VENV) from constraints.txt (once, 2 to 4 minutes) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11) and "Python 3.11 or later is needed; name it: make PYTHON=python3.11 …")'
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python $(PIP) install --constraint constraints.txt --editable '.[all,postgres,dev]'
	@touch $@

# The pins are all that is needed, so nothing is resolved.
$(OLDEST)/.ready: pyproject.toml constraints-oldest.txt
	@echo "Setting up $(OLDEST) from constraints-oldest.txt (once, 1 to 2 minutes) …"
	@test -d $(OLDEST) || $(PYTHON) -m venv $(OLDEST)
	@$(OLDEST)/bin/python $(PIP) install --no-deps --requirement constraints-oldest.txt
	@$(OLDEST)/bin/python $(PIP) install --no-deps --editable .
	@$(OLDEST)/bin/python $(PIP) check
	@touch $@

# MLflow pins what Airflow pins otherwise, so it has an environment of its own.
$(MLFLOW)/.ready: constraints-mlflow.txt
	@echo "Setting up $(MLFLOW) from constraints-mlflow.txt (once) …"
	@test -d $(MLFLOW) || $(PYTHON) -m venv $(MLFLOW)
	@$(MLFLOW)/bin/python $(PIP) install --requirement constraints-mlflow.txt
	@touch $@

clean:
	@rm -rf $(VENV) $(MLFLOW) $(OLDEST) .demo
