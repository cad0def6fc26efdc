# `make` alone lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VERSION ?=
INVENTORY ?= local
SERVICE ?=
# In words, quotes and all, so it goes to the recipe as an environment variable.
export REASON ?=
COMPONENT ?= *
JOB ?= llm1-tech
ARGS ?=
# With LAB=1 a playbook runs against the machines of `make lab`; LAB_NAME tells two labs of an inventory apart.
LAB ?=
LAB_NAME ?= $(INVENTORY)
HOST ?=
CMD ?=
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
INLAB = .venv/bin/python -m tools.lab
INSIDE = $(filter-out 0,$(LAB))
PLAYBOOK = $(if $(INSIDE),$(INLAB) play '$(LAB_NAME)' --,.venv/bin/ansible-playbook) -i 'inventory/$(INVENTORY)'$(if $(PREFIX), -e caelum_prefix=$(PREFIX))
# Inventories whose hosts run systemd, and what is typed there in the place of a target that reads this machine's files.
FLEET = $(filter-out local,$(INVENTORY))
HERE = $(if $(FLEET),@echo "$@ is for this machine's own deployment; on a host of $(INVENTORY) type: ssh HOST $(1) (make topology INVENTORY=$(INVENTORY) lists hosts and units)" >&2; exit 2)
# As many tests at once as the machine has cores, up to four; what shares a deployment stays together (tests/conftest.py).
PYTEST = .venv-dev/bin/python -m pytest -n auto --maxprocesses 4 --dist loadscope --no-loadscope-reorder
ONE = $(if $(SERVICE),-e 'service=$(SERVICE)')
# Ansible reads no ansible.cfg by itself from a folder that everybody may write to.
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

.PHONY: help deploy rollback abort verify history halt resume down status lab lab-status lab-shell lab-down memory bench bench-fleet logs clean train topology venv venv-dev test test-full test-fast lint docs docs-check locks

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

deploy: venv ## Deploy a version: make deploy VERSION=v1.1.0 [INVENTORY=local] [ARGS='-e caelum_port_base=20000']
	@[ -n "$(VERSION)" ] || { echo "name the version: make deploy VERSION=v1.1.0"; exit 2; }
	$(PLAYBOOK) deploy.yml -e 'version=$(VERSION)' $(ARGS)

rollback: venv ## Go back to the release before: make rollback [SERVICE=fincoll] [ARGS='-e break_glass=true']
	@$(PLAYBOOK) rollback.yml $(ONE) $(ARGS)

abort: venv ## End what is under way and return to the last good release: make abort [SERVICE=fincoll]
	@$(PLAYBOOK) abort.yml $(ONE) $(ARGS)

verify: venv ## Say what is not as it was deployed
	@$(PLAYBOOK) verify.yml $(ARGS)

history: venv ## Show the last deployments and what became of them: make history [SERVICE=fincoll]
	@$(PLAYBOOK) playbooks/history.yml $(ONE) $(ARGS)

halt: venv ## Stop every FinColl from predicting, at once: make halt REASON='the split of AAPL'
	@[ -n "$$REASON" ] || { echo "say why, for those who are refused: make halt REASON='the split of AAPL'"; exit 2; }
	@$(PLAYBOOK) halt.yml -e "$$(.venv/bin/python -c 'import json, os; print(json.dumps({"reason": os.environ["REASON"]}))')" $(ARGS)

resume: venv ## Let every FinColl predict again
	@$(PLAYBOOK) resume.yml $(ARGS)

down: venv ## Stop everything; data, releases and models stay
	@$(PLAYBOOK) playbooks/stop.yml $(ARGS)

status: venv ## Show what runs, from PIM's own view
	@$(if $(INSIDE),$(INLAB) health '$(LAB_NAME)',$(if $(FLEET),$(PLAYBOOK) playbooks/status.yml $(ARGS),.venv/bin/python tools/status.py '$(FOLDER)'))

lab: venv ## Boot an inventory's hosts as machines on this one: make lab INVENTORY=production; then make deploy … LAB=1
	@$(INLAB) up '$(LAB_NAME)' '$(INVENTORY)'

lab-status: venv ## Say which hosts of the lab are up: make lab-status INVENTORY=production
	@$(INLAB) status '$(LAB_NAME)'

lab-shell: venv ## A shell on a host of the lab, or one command: make lab-shell INVENTORY=production HOST=gpu-44 [CMD='uptime']
	@[ -n "$(HOST)" ] || { echo "name the host: make lab-shell INVENTORY=$(INVENTORY) HOST=…; make lab-status lists them"; exit 2; }
	@$(INLAB) shell '$(LAB_NAME)' '$(HOST)' $(CMD)

lab-down: venv ## End the lab and remove all of it
	@$(INLAB) down '$(LAB_NAME)'

memory: venv ## Show the memory of every component
	$(call HERE,systemctl status UNIT)
	@.venv/bin/python tools/memory.py '$(FOLDER)'

bench: venv-dev ## Measure deploys, predictions, memory and training on a deployment of its own: a table, and .cache/bench.json
	@.venv-dev/bin/python tools/bench.py $(ARGS)

bench-fleet: venv-dev ## Measure deployments of five and of fifteen hosts in a lab: a table, and .cache/bench-fleet.json
	@.venv-dev/bin/python tools/bench_fleet.py

logs: ## Follow a component's log: make logs COMPONENT=fincoll
	$(call HERE,journalctl -n 100 -f -u UNIT)
	@tools/logs.sh '$(FOLDER)' '$(COMPONENT)'

# Whether there is anything for the playbook to remove: another inventory, or a place named in ARGS, is for it to say.
# The environments serve every deployment of the checkout, so only a plain `make clean` removes them.
DEPLOYED = $(or $(filter-out local,$(INVENTORY)),$(ARGS),$(shell [ ! -e '$(FOLDER)' ] || echo yes))

clean: $(if $(DEPLOYED),venv) ## Stop everything and remove it with all data, and the environments; with PREFIX=/… that deployment alone
	$(if $(DEPLOYED),@$(PLAYBOOK) playbooks/remove.yml $(ARGS))
	$(if $(PREFIX)$(ARGS)$(filter-out local,$(INVENTORY)),,@rm -rf .venv .venv-dev .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache)

train: venv ## Train a job by hand with the deployed FinVec: make train JOB=llm1-tech
	$(call HERE,systemctl start finvec-train@$(firstword $(subst -, ,$(JOB))))
	@CAELUM_PREFIX='$(FOLDER)' .venv/bin/python services/finvec/train_production.py --job '$(JOB)' $(ARGS)

topology: venv ## Show what an inventory would run where, without reaching its hosts
	@$(PLAYBOOK) playbooks/topology.yml -e 'version=$(or $(VERSION),v0.0.0)' $(ARGS)

venv: ## Make the controller's environment
	@tools/environment.sh .venv locks/controller.txt

venv-dev: venv ## Make the environment of tests and of work on the code
	@tools/environment.sh .venv-dev locks/dev.txt "$$(tools/variant.sh .venv)"

test: venv-dev lint ## Run every check and every test
	@$(PYTEST) -m "not full" $(ARGS)

test-full: venv-dev lint ## Run those as well that take long: everything on one host, reboots, a share that hangs for minutes
	@$(PYTEST) $(ARGS)

test-fast: venv-dev ## Run the tests that start no whole ecosystem and no machines
	@$(PYTEST) -m "not integration and not lab" $(ARGS)

lint: venv-dev ## Check style, types, layers, playbooks and shell
	@tools/lint.sh

docs: venv-dev ## Write the generated texts of README and docs/, and the pictures where the dashboard answers
	@.venv-dev/bin/python tools/docs.py '$(FOLDER)'

docs-check: venv-dev ## Fail when a generated text is stale
	@.venv-dev/bin/python tools/docs.py --check

locks: venv ## Pin every environment anew
	@tools/lock.sh
