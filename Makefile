# `make` alone lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VERSION ?=
INVENTORY ?= local
COMPONENT ?= *
JOB ?= llm1-tech
ARGS ?=
# The same folder that inventory/local uses; the contract test holds the two together.
ROOT_PREFIX := /opt/caelum-$(shell printf %s "$(CURDIR)" | sha256sum | cut -c1-8)
PREFIX ?= $(if $(filter 0,$(shell id -u)),$(ROOT_PREFIX),$(CURDIR)/.caelum)
PLAYBOOK = .venv/bin/ansible-playbook -i inventory/$(INVENTORY)
FOLDERS = $(if $(filter local,$(INVENTORY)),-e caelum_prefix=$(PREFIX))

.PHONY: help deploy down status logs clean train topology venv venv-dev test test-fast lint docs docs-check locks

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

deploy: venv ## Deploy a version: make deploy VERSION=v1.1.0 [INVENTORY=local] [ARGS='-e caelum_port_base=20000']
	@[ -n "$(VERSION)" ] || { echo "name the version: make deploy VERSION=v1.1.0"; exit 2; }
	$(PLAYBOOK) deploy.yml -e version=$(VERSION) $(ARGS)

down: venv ## Stop everything; data, releases and models stay
	@$(PLAYBOOK) playbooks/stop.yml $(ARGS)

status: venv ## Show what runs, from PIM's own view
	@.venv/bin/python tools/status.py $(PREFIX)

logs: ## Follow a component's log: make logs COMPONENT=fincoll
	@tools/logs.sh $(PREFIX) '$(COMPONENT)'

clean: ## Stop everything and remove it with all data and environments
	@[ ! -x .venv/bin/ansible-playbook ] || $(PLAYBOOK) playbooks/remove.yml $(ARGS)
	@rm -rf .venv .venv-dev .cache .caelum .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

train: venv ## Train a job by hand with the deployed FinVec: make train JOB=llm1-tech
	@PYTHON=$(PREFIX)/opt/caelum/finvec/slots/finvec-train@llm1/bin/python services/finvec/train_production.py --job $(JOB) $(ARGS)

topology: venv ## Show what an inventory would run where, without reaching its hosts
	@$(PLAYBOOK) playbooks/topology.yml -e version=$(or $(VERSION),v0.0.0) $(ARGS)

venv: ## Make the controller's environment
	@tools/environment.sh .venv locks/controller.txt

venv-dev: venv ## Make the environment of tests and of work on the code
	@tools/environment.sh .venv-dev locks/dev.txt "$$(tools/variant.sh .venv)"

test: venv-dev lint ## Run every check and every test
	@.venv-dev/bin/python -m pytest $(ARGS)

test-fast: venv-dev ## Run the tests that start no whole ecosystem
	@.venv-dev/bin/python -m pytest -m "not integration" $(ARGS)

lint: venv-dev ## Check style, types, layers, playbooks and shell
	@tools/lint.sh

docs: venv-dev ## Write the generated parts of README
	@.venv-dev/bin/python tools/docs.py

docs-check: venv-dev ## Fail when the generated parts of README are stale
	@.venv-dev/bin/python tools/docs.py --check

locks: venv ## Pin every environment anew
	@tools/lock.sh
