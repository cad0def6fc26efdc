# `make` alone lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VERSION ?=
INVENTORY ?= local
SERVICE ?=
COMPONENT ?= *
JOB ?= llm1-tech
ARGS ?=
# Folder of a deployment other than the checkout's own: empty, or absolute after the check below.
PREFIX ?=

ODD := $(shell case '$(subst ','\'',$(PREFIX))' in (*[!A-Za-z0-9._/+-]*) echo odd;; esac)
# Empty on the command line is an unset variable of the caller, and `make clean` would take the first deployment.
EMPTY := $(if $(PREFIX),,$(filter command,$(origin PREFIX)))
ifneq ($(ODD)$(EMPTY)$(filter /,$(abspath $(PREFIX))),)
$(error PREFIX='$(PREFIX)' cannot hold a deployment; give a folder of letters, digits and ./_+- such as /tmp/second)
endif
override PREFIX := $(abspath $(PREFIX))
FOLDER := $(or $(PREFIX),$(shell tools/prefix.sh))
PLAYBOOK = .venv/bin/ansible-playbook -i 'inventory/$(INVENTORY)'$(if $(PREFIX), -e caelum_prefix=$(PREFIX))
# Ansible reads no ansible.cfg by itself from a folder that everybody may write to.
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

.PHONY: help deploy abort down status memory logs clean train topology venv venv-dev test test-fast lint docs docs-check locks

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

deploy: venv ## Deploy a version: make deploy VERSION=v1.1.0 [INVENTORY=local] [ARGS='-e caelum_port_base=20000']
	@[ -n "$(VERSION)" ] || { echo "name the version: make deploy VERSION=v1.1.0"; exit 2; }
	$(PLAYBOOK) deploy.yml -e 'version=$(VERSION)' $(ARGS)

abort: venv ## End a deployment that was left open: make abort SERVICE=fincoll
	@[ -n "$(SERVICE)" ] || { echo "name the service whose deployment is to be ended: make abort SERVICE=fincoll"; exit 2; }
	$(PLAYBOOK) abort.yml -e 'service=$(SERVICE)' $(ARGS)

down: venv ## Stop everything; data, releases and models stay
	@$(PLAYBOOK) playbooks/stop.yml $(ARGS)

status: venv ## Show what runs, from PIM's own view
	@.venv/bin/python tools/status.py '$(FOLDER)'

memory: venv ## Show the memory of every component
	@.venv/bin/python tools/memory.py '$(FOLDER)'

logs: ## Follow a component's log: make logs COMPONENT=fincoll
	@tools/logs.sh '$(FOLDER)' '$(COMPONENT)'

# Whether there is anything for the playbook to remove: another inventory, or a place named in ARGS, is for it to say.
# The environments serve every deployment of the checkout, so only a plain `make clean` removes them.
DEPLOYED = $(or $(filter-out local,$(INVENTORY)),$(ARGS),$(shell [ ! -e '$(FOLDER)' ] || echo yes))

clean: $(if $(DEPLOYED),venv) ## Stop everything and remove it with all data, and the environments; with PREFIX=/… that deployment alone
	$(if $(DEPLOYED),@$(PLAYBOOK) playbooks/remove.yml $(ARGS))
	$(if $(PREFIX)$(ARGS)$(filter-out local,$(INVENTORY)),,@rm -rf .venv .venv-dev .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache)

train: venv ## Train a job by hand with the deployed FinVec: make train JOB=llm1-tech
	@CAELUM_PREFIX='$(FOLDER)' .venv/bin/python services/finvec/train_production.py --job '$(JOB)' $(ARGS)

topology: venv ## Show what an inventory would run where, without reaching its hosts
	@$(PLAYBOOK) playbooks/topology.yml -e 'version=$(or $(VERSION),v0.0.0)' $(ARGS)

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
