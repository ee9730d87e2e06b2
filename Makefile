# `make` or `make help` lists what there is to do.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup run cloud test check simulate kills load fuzz generators mutate audit fresh pictures bench format lock deploy adopt remove smoke clean

PYTHON ?= python3
BIN := .venv/bin
PIP := pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make lock"

# powertools asks for jmespath, which the Lambda runtime already has.
RUNTIME_HAS := --no-emit-package jmespath

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.ready .venv-cloud/.ready ## the virtual environments and all they need

# What running takes: seconds. The rest comes when it is needed.
.venv/.run: requirements-run.txt pyproject.toml
	@echo "Setting up .venv (seconds, once) ..." >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.13 ...")'
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/$(PIP) requirements-run.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

.venv/.ready: requirements-dev.txt .venv/.run
	@echo "Setting up the rest of .venv (under a minute, once) ..." >&2
	@$(BIN)/$(PIP) requirements-dev.txt
	@touch $@

.venv-cloud/.ready: requirements-cloud.txt shared/requirements.txt .venv/.ready
	@echo "Setting up .venv-cloud, the local AWS (under a minute, once) ..." >&2
	@$(PYTHON) -m venv --clear .venv-cloud
	@.venv-cloud/bin/$(PIP) requirements-cloud.txt
	@$(BIN)/python -m contact_activity.local_cloud.layer
	@touch $@

.venv-sam/.ready: requirements-sam.txt
	@echo "Setting up .venv-sam, the SAM command line (under a minute, once) ..." >&2
	@$(PYTHON) -m venv --clear .venv-sam
	@.venv-sam/bin/$(PIP) requirements-sam.txt
	@touch $@

run: .venv/.run ## the main job on this machine; without credentials, on a simulated account
	@$(BIN)/contact-activity run --all

cloud: setup ## the same job through the real template, on a local AWS; make cloud CLOUD=--keep leaves it up until Ctrl-C
	@$(BIN)/contact-activity run --engine cloud --all $(CLOUD)

# Two processes for each core, since many tests wait. Each imports all tests, which takes thrice the CPU where what
# pytest made of them is not kept.
PYTEST = env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest --numprocesses $$(( $$(getconf _NPROCESSORS_ONLN) * 2 ))

test: setup ## the tests but for the long ones and those that deploy the stack on the local AWS
	@$(PYTEST) --dist worksteal -m "not cloud and not long"

SEEDS ?= 10000
simulate: .venv/.ready ## histories of faults in virtual time: make simulate SEEDS=10000
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS)

kills: setup ## kill -9: thirty runs on one state folder, of v2 and of v3, thirty processes of functions; count what is lost
	@$(BIN)/python -m tests.bench.kills
	@$(BIN)/python -m tests.bench.kills --api v3
	@$(BIN)/python -m tests.bench.kills --engine cloud

load: setup ## drain a backlog of 100,000 contacts, of v2 and of v3, and one of 10,000 through 50 deployed workers
	@$(BIN)/python -m tests.bench.load
	@$(BIN)/python -m tests.bench.load --api v3
	@$(BIN)/python -m tests.bench.load --engine cloud

.build/atheris/.ready: requirements-fuzz.txt .venv/.ready
	@echo "Setting up the fuzzer (seconds, once) ..." >&2
	@$(BIN)/$(PIP) requirements-fuzz.txt --target .build/atheris --upgrade
	@touch $@

RUNS ?= 200000
fuzz: .venv/.ready .build/atheris/.ready ## 2.4 million inputs for the parsers: make fuzz RUNS=200000 (for each of twelve)
	@PYTHONPATH=.build/atheris $(BIN)/python -m tests.fuzz --runs $(RUNS)

.build/mutmut/.ready: requirements-mutation.txt .venv/.ready
	@echo "Setting up mutmut (seconds, once) ..." >&2
	@$(BIN)/$(PIP) requirements-mutation.txt --target .build/mutmut --upgrade
	@touch $@

.venv-generators/.ready: requirements-generators.txt
	@echo "Setting up .venv-generators (seconds, once) ..." >&2
	@$(PYTHON) -m venv --clear .venv-generators
	@.venv-generators/bin/$(PIP) requirements-generators.txt
	@touch $@

.build/generators/.ready: tests/generators/package.json tests/generators/package-lock.json tests/generators/modelina.mjs
	@command -v npm >/dev/null || { echo "Node.js is needed, for its generators of types: install nodejs and npm" >&2; exit 1; }
	@mkdir -p .build/generators && cp $^ .build/generators
	@npm ci --prefix .build/generators --silent --ignore-scripts --no-audit --no-fund
	@touch $@

generators: .venv/.run .venv-generators/.ready .build/generators/.ready ## the types that generators make of the schemas, by name
	@$(BIN)/python -m tests.generators

MUTANTS ?= 300
SEED ?= 1
mutate: .venv/.ready .build/mutmut/.ready ## which changes to the code no test notices: make mutate MUTANTS=300 SEED=1
	@PYTHONPATH=$(CURDIR)/.build/mutmut nice -n 5 $(BIN)/python -m tests.mutation --mutants $(MUTANTS) --seed $(SEED) $(MUTATE)

.venv-audit/.ready: requirements-audit.txt
	@echo "Setting up .venv-audit (seconds, once) ..." >&2
	@$(PYTHON) -m venv --clear .venv-audit
	@.venv-audit/bin/$(PIP) requirements-audit.txt
	@touch $@

SHIPPED = $$(sed -nE 's/^([a-z0-9-]+)==.*/\1/p' shared/requirements.txt)
audit: .venv/.ready .venv-audit/.ready ## licences of what the layer ships, then its known vulnerabilities (asks a service)
	@.venv-audit/bin/pip-licenses --python $(BIN)/python --packages $(SHIPPED) --partial-match \
		--allow-only "Apache;BSD;MIT;Mozilla Public License 2.0;PSF"
	@.venv-audit/bin/pip-audit --strict --require-hashes --disable-pip --requirement shared/requirements.txt

fresh: .venv/.ready ## how fresh the bus is: a week in virtual time at three sizes; FRESH="1000 10000" for others
	@$(BIN)/python -m tests.bench.fresh $(FRESH)

pictures: .venv/.ready ## draw what the commands print, for the README
	@$(BIN)/python -m tests.pictures

bench: setup ## the benchmarks, 3 minutes; with BENCH=--large any size too, 10 more
	@$(BIN)/python -m tests.bench $(BENCH)

format: .venv/.ready ## format the code and mend what the linter can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

SAM := SAM_CLI_TELEMETRY=0 UV_PYTHON_DOWNLOADS=never PATH="$(CURDIR)/$(BIN):$$PATH" .venv-sam/bin/sam

check: setup .venv-sam/.ready ## exactly what CI runs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/cfn-lint template.yaml
	$(SAM) build --cached
	$(PYTEST) --dist worksteal -m "not cloud"
	$(BIN)/pytest --numprocesses auto --dist loadfile -m cloud

lock: .venv/.ready ## resolve the dependencies anew and pin them with hashes
	$(LOCK) --group layer $(RUNTIME_HAS) -o shared/requirements.txt
	$(LOCK) pyproject.toml --group dev -c shared/requirements.txt -o requirements-dev.txt
	$(LOCK) pyproject.toml --group build -c requirements-dev.txt -o requirements-run.txt
	$(LOCK) --group cloud -o requirements-cloud.txt
	$(LOCK) --group sam -o requirements-sam.txt
	$(LOCK) --group fuzz -o requirements-fuzz.txt
	$(LOCK) --group mutation -c requirements-dev.txt -o requirements-mutation.txt
	$(LOCK) --group generators -o requirements-generators.txt
	@cd tests/generators && npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --silent
	$(LOCK) --group audit -o requirements-audit.txt

STACK ?= contact-activity
# A prefix of its own: the removal of a stack deletes what lies under it.
deploy: .venv/.ready .venv-sam/.ready ## build and deploy to your AWS account: make deploy PARAMETERS="CallsPerDay=250000"
	$(SAM) build
	$(SAM) deploy --stack-name $(STACK) --s3-prefix $(STACK) $(if $(PARAMETERS),--parameter-overrides $(PARAMETERS))

adopt: .venv/.ready ## begin a new stack with the table that another one left: make adopt TABLE=name
	@$(BIN)/python -m contact_activity.operations.stack_lifecycle adopt --stack $(STACK) --table $(TABLE) \
		$(if $(KMS_KEY_ARN),--kms-key-arn $(KMS_KEY_ARN))

remove: .venv/.ready .venv-sam/.ready ## delete the stack, unless subscribers have rules on its bus; its table stays
	@$(BIN)/python -m contact_activity.operations.stack_lifecycle rules --stack $(STACK)
	$(SAM) delete --stack-name $(STACK)

smoke: .venv/.ready .venv-sam/.ready ## a round on your AWS account, in a stack of its own: make smoke SMOKE=--help
	@$(BIN)/python -m tests.smoke $(SMOKE)

clean: ## remove what was built, but no state and no environment
	@rm -rf .aws-sam .build .mypy_cache .pytest_cache .ruff_cache .hypothesis
