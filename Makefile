# Two commands: `make demo` shows the whole story, `make test` runs all tests.
# Both set up what they need from the pinned versions, once, beside this file.

PYTHON ?= python3
VENV := .venv
MLFLOW := .venv-mlflow
PIP := -m pip --disable-pip-version-check --quiet --quiet

.PHONY: demo test lint setup soak benchmarks clean

demo: setup
	@$(VENV)/bin/python -m demo

test: setup lint
	@$(VENV)/bin/python -m pytest $(TESTS)

lint: $(VENV)/.ready
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --config setup.cfg

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

# MLflow pins what Airflow pins otherwise, so it has an environment of its own.
$(MLFLOW)/.ready: constraints-mlflow.txt
	@echo "Setting up $(MLFLOW) from constraints-mlflow.txt (once) …"
	@test -d $(MLFLOW) || $(PYTHON) -m venv $(MLFLOW)
	@$(MLFLOW)/bin/python $(PIP) install --requirement constraints-mlflow.txt
	@touch $@

clean:
	@rm -rf $(VENV) $(MLFLOW) .demo
