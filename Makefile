# The commands of this repository. `make` without a target lists them.
#
# Environments and builds are created on demand, and again only if their sources have changed.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
.PHONY: help setup demo local test test-quick faults mutants bench check audit key webhook-secret openapi workflows screenshots build deploy lock clean

# ---- Settings: NAME=value after `make`, or from the environment ------------------------------------------------------

PORT ?= 8000#            port of the local API, on loopback
CONCURRENCY ?= 3#        concurrent model calls of each worker
WORKERS ?= 2#            concurrent workers of each kind (MaximumConcurrency), at least 2
WORKER_TIMEOUT ?= 300#   timeout of a worker in seconds; sets the queue's visibility timeout too
ARCH ?= arm64#           processor for `make build` and `make deploy`: arm64 or x86_64
STAGE ?= dev#            stack that `make deploy` deploys: dev or prod
FAULT_RUNS ?= 1#         number of runs of each fault in `make faults`
MUTANTS ?=#              mutants to run, such as MUTANTS="common.worker.provider_errors*"; all by default
BENCH ?=#              benchmarks to run, such as BENCH="calls api"; all by default
PYTEST_ARGS ?=#          arguments for pytest, such as PYTEST_ARGS="tests/unit -x"
# OPENAI_API_KEY, OPENAI_BASE_URL and MODELS are passed to `make local` and `make demo`. Without the first two a local
# stand-in replaces the model.

# ---- The targets -----------------------------------------------------------------------------------------------------

help: ## List the targets and the settings
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	@printf '\nSettings, as in `make demo CONCURRENCY=4`:\n'
	@awk '/^[A-Z_]+ [?]=.*#/ { name = $$1; value = $$0; sub(/^[^=]*= */, "", value); sub(/#.*/, "", value); \
		text = $$0; sub(/^[^#]*# */, "", text); printf "  %-15s %-16s %s\n", name, value, text }' Makefile
	@printf '  %-32s %s\n' 'OPENAI_API_KEY, OPENAI_BASE_URL' 'the real model for demo and local, instead of the stand-in' \
		'MODELS' 'comma-separated list of the allowed models'

setup: .venv/.made .venv/.client .venv-sam/.made .venv-ministack/.made ## Create the Python environments
	@:

demo: setup ## Start the stack, send four prompts, watch them, stop
	@exec .venv/bin/python -m local demo

local: setup ## Run the whole stack on this machine until Ctrl-C
	@exec .venv/bin/python -m local up

demo local: export PORT := $(PORT)
demo local: export CONCURRENCY := $(CONCURRENCY)
demo local: export WORKERS := $(WORKERS)
demo local: export WORKER_TIMEOUT := $(WORKER_TIMEOUT)

# tests/conftest.py decides which tests share a process, and which run first.
IN_PROCESSES = --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Build first: a cold build takes 40 s, and minutes on a busy machine. The timeout of a test is shorter.
test: setup ## Run all tests (PYTEST_ARGS="tests/unit -x" for some)
	@.venv/bin/python -m local.build
	@exec .venv/bin/python -m pytest $(IN_PROCESSES) --durations 10 --durations-min 5 $(PYTEST_ARGS)

# The unit tests, and the contract of the store on the fake and on one server. No build, no browser.
test-quick: .venv/.made .venv/.client ## Run the unit tests and the contract of the store
	@exec .venv/bin/python -m pytest $(IN_PROCESSES) tests/unit tests/integration/store --ignore tests/integration/store/test_machine.py \
		-k 'not valkey_cluster and not valkey_twice and not valkey_gathered' $(PYTEST_ARGS)

# The marker expression selects all tests, because the default one excludes those marked `faults`.
faults: setup ## Run the whole fault suite and write its table into docs/reliability.md
	@exec .venv/bin/python -m pytest tests/faults tests/integration/flow -m 'faults or not faults' --capture=tee-sys $(PYTEST_ARGS)

# Remove the previous results first: mutmut would reuse them in spite of a new test or a changed setting. MUTANTS is quoted
# because mutmut expands its wildcards.
mutants: setup ## Run mutation tests and list the mutants that survive
	@rm -rf mutants
	@.venv/bin/python -m mutmut run $(if $(MUTANTS),'$(MUTANTS)')
	@.venv/bin/python -m mutmut results

bench: setup .venv-bench/.made ## Measure Sluice and common alternatives, and write docs/benchmarks.md (BENCH="calls api" for some)
	@exec .venv/bin/python -m benchmarks $(BENCH)

# Python 3.13 is first on the PATH, because SAM searches the runtime's interpreter there.
SAM = PATH="$(CURDIR)/.venv/bin:$$PATH" SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam
faults: export FAULT_RUNS := $(FAULT_RUNS)

# Nested stacks are in infra/; `sam validate` checks only the root template.
TEMPLATES = template.yaml $(wildcard infra/*.yaml)

check: .venv/.made .venv/.client .venv-sam/.made .venv-checks/.made ## Check style, types, import rules, templates, breaking API changes, secrets, licences
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/cfn-lint $(TEMPLATES)
	$(SAM) validate --lint
	.venv/bin/python -m tools.openapi check
	.venv-checks/bin/checkov --config-file .checkov.yaml --file $(TEMPLATES)
	.venv-checks/bin/bandit --quiet --recursive --configfile pyproject.toml common functions local tools client/src
	.venv-checks/bin/zizmor --offline --quiet .github
	@git ls-files -z $(NOT_READ) | xargs -0 .venv-checks/bin/detect-secrets-hook --no-verify $(NO_SECRETS)
	.venv-checks/bin/pip-licenses --python .venv/bin/python --packages $(SHIPPED) --from mixed --summary \
		--partial-match --allow-only '$(LICENCES)'

# False positives: an id in an example, the key in AWS's own example of a signature, an invented password in an address.
# KeywordDetector is off because it reports every variable that is named like a secret; ruff checks those in code, and
# tests/infra checks them in templates.
NO_SECRETS = --exclude-secrets '^batches/' --exclude-secrets '^AKIDEXAMPLE/' --exclude-secrets '^password$$' \
	--disable-plugin KeywordDetector
# Files with foreign hashes and ids: locks, and events in AWS's format.
NOT_READ = ':!*requirements*.txt' ':!requirements/*.txt' ':!*/package-lock.json' ':!tests/events'

# Licences that deployed packages may have. They require only attribution. The Mozilla licence (certifi's certificates) also
# requires the source of changed files, and Sluice changes none.
LICENCES = MIT;Apache;BSD;PSF-2.0;Python Software Foundation License;Mozilla Public License 2.0
SHIPPED = $(shell sed -n 's/^\([a-z0-9-]*\)==.*/\1/p' common/requirements.txt functions/*/requirements.txt | sort -u)

# The options of a key; each value is quoted for the shell.
KEY_OPTIONS = $(if $(MODELS),--models '$(MODELS)') $(if $(BUDGET_REQUESTS),--requests '$(BUDGET_REQUESTS)') \
	$(if $(BUDGET_TOKENS),--tokens '$(BUDGET_TOKENS)') $(if $(BUDGET_USD),--usd '$(BUDGET_USD)')

audit: .venv-checks/.made ## Check deployed packages and tools for known vulnerabilities (needs the public index)
	@for lock in common/requirements.txt functions/*/requirements.txt requirements/*.txt tests/sdk/requirements.txt; do \
		grep -q '^[a-z]' $$lock || continue; \
		echo "$$lock"; .venv-checks/bin/pip-audit --require-hashes --disable-pip --requirement $$lock || exit 1; \
	done

key: .venv/.made ## Issue a caller's key (TENANT=acme), allow an IAM role (and PRINCIPAL=arn), budgets (CHANGE=acme), LIST=1, REVOKE=id
	@exec .venv/bin/python -m tools.keys $(if $(LIST),list,$(if $(REVOKE),revoke '$(REVOKE)',$(if $(CHANGE),change \
		'$(CHANGE)',$(if $(PRINCIPAL),allow '$(PRINCIPAL)',issue) '$(TENANT)') $(KEY_OPTIONS)))

webhook-secret: .venv/.made ## Print a tenant's webhook signing key (TENANT=acme), or rotate the secret (RENEW=1, FINISH=1)
	@exec .venv/bin/python -m tools.webhook_keys $(if $(RENEW),renew,$(if $(FINISH),finish,show '$(TENANT)'))

openapi: .venv/.made ## Write functions/docs/openapi.json from the code (RELEASE=1 stores it as a release too)
	@exec .venv/bin/python -m tools.openapi $(if $(RELEASE),release,write)

workflows: .venv/.made ## Write functions/submit/workflows.json from functions/workflow/chains.py
	@exec .venv/bin/python -m tools.workflows

screenshots: setup ## Take screenshots of the console for docs/images, with Chromium
	@exec .venv/bin/python -m local.screenshots

build: .venv/.made .venv-sam/.made ## Build the functions, with bytecode, in .aws-sam/build (ARCH=x86_64 for Intel)
	@exec .venv/bin/python -m local.build --architecture $(ARCH) --to .aws-sam/build

# The build contains its processor, so no parameter can contradict it.
deploy: build ## Build, and deploy the stack of STAGE in samconfig.toml: dev or prod (ARCH=x86_64 for Intel)
	@exec env $(SAM) deploy --config-env $(STAGE)

lock: .venv/.made ## Update the locks to the newest versions that the .in files allow
	$(call compile,uv,--universal)
	$(call compile,dev,--universal)
	$(call compile,sam,--universal)
	$(call compile,ministack,--universal)
	$(call compile,bench,--universal)
	$(call compile,checks,--universal)
	$(call compile_shipped,common)
	$(call compile_shipped,functions/submit)
	$(call compile_shipped,functions/webhook)
	$(call compile_shipped,functions/worker)
	$(call compile_shipped,functions/workflow)
	$(COMPILE) --universal tests/sdk/requirements.in --output-file tests/sdk/requirements.txt
	@if command -v npm >/dev/null; then npm update --silent --package-lock-only --prefix tests/sdk/node; \
		else echo 'There is no npm: tests/sdk/node/package-lock.json stays as it is.'; fi

clean: ## Remove everything that the other targets create
	rm -rf .venv .venv-sam .venv-ministack .venv-bench .venv-checks .venv-sdk tests/sdk/node/node_modules .aws-sam .build .local \
		.hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache mutants
	find client common functions local tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# ---- Environments ----------------------------------------------------------------------------------------------------

# Each environment is created from scratch, so packages that a lock no longer names are removed. uv installs about ten times as
# fast as pip. pip is the fallback, because uv does not read pip's configuration, such as a mirror.
# $(call fill,<environment>,<lock>)
define fill
	@{ .venv/bin/uv pip install --system-certs --require-hashes --python $(1)/bin/python -r $(2) || \
		.venv/bin/python -m pip --python $(1)/bin/python install --disable-pip-version-check --require-hashes -r $(2); \
		} >$(1)/install.log 2>&1 || { tail -n 20 $(1)/install.log >&2; exit 1; }
	@touch $@
endef

.venv/.made: requirements/uv.txt requirements/dev.txt
	@echo 'Setting up .venv: the product, its tests and checks …'
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
		echo 'Sluice needs Python 3.13 with venv, and none is on the PATH. Install it, or name it: make PYTHON=/path/to/python3.13' >&2; \
		exit 1; \
	fi; \
	"$$python" -m venv --clear .venv
	@.venv/bin/python -m pip install --disable-pip-version-check --require-hashes -r requirements/uv.txt \
		>.venv/install.log 2>&1 || { tail -n 20 .venv/install.log >&2; exit 1; }
	$(call fill,.venv,requirements/dev.txt)

# An editable install of the client and its command: a change of its code needs no setup. dev.txt has its dependencies and its
# build backend, so nothing is downloaded.
OURS = --quiet --no-deps --no-build-isolation --no-index --editable client
.venv/.client: client/pyproject.toml .venv/.made
	@.venv/bin/uv pip install --offline --python .venv/bin/python $(OURS) 2>/dev/null || \
		.venv/bin/python -m pip install --disable-pip-version-check $(OURS)
	@touch $@

.venv-sam/.made: requirements/sam.txt | .venv/.made
	@echo 'Setting up .venv-sam: the SAM CLI …'
	@.venv/bin/python -m venv --clear --without-pip .venv-sam
	$(call fill,.venv-sam,requirements/sam.txt)

.venv-ministack/.made: requirements/ministack.txt | .venv/.made
	@echo 'Setting up .venv-ministack: AWS on this machine …'
	@.venv/bin/python -m venv --clear --without-pip .venv-ministack
	$(call fill,.venv-ministack,requirements/ministack.txt)

.venv-checks/.made: requirements/checks.txt | .venv/.made
	@echo 'Setting up .venv-checks: checks of templates, workflows and licences …'
	@.venv/bin/python -m venv --clear --without-pip .venv-checks
	$(call fill,.venv-checks,requirements/checks.txt)

# The real path of the first Python 3.13. pyenv's python3.13 is a shim that depends on the current folder: it fails if no 3.13
# is selected there, even if one is installed.
PYTHON ?=
FIND_PYTHON = for python in "$(PYTHON)" python3.13 python3 python "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13.*/bin/python3.13; do \
	[ -n "$$python" ] && "$$python" -c 'import ensurepip, os, sys; \
sys.version_info[:2] == (3, 13) and sys.exit(print(os.path.realpath(sys._base_executable)))' 2>/dev/null && \
	break; done

.venv-bench/.made: requirements/bench.txt | .venv/.made
	@echo 'Setting up .venv-bench: the alternatives to compare with …'
	@.venv/bin/python -m venv --clear --without-pip .venv-bench
	$(call fill,.venv-bench,requirements/bench.txt)

# tests/sdk makes this environment and the next one when its tests run.
.venv-sdk/.made: tests/sdk/requirements.txt | .venv/.made
	@echo 'Setting up .venv-sdk: the clients of the OpenAI-compatible endpoints …'
	@.venv/bin/python -m venv --clear --without-pip .venv-sdk
	$(call fill,.venv-sdk,tests/sdk/requirements.txt)

tests/sdk/node/node_modules/.made: tests/sdk/node/package-lock.json tests/sdk/node/.npmrc
	@echo 'Setting up tests/sdk/node: the same in JavaScript …'
	@log=$$(cd tests/sdk/node && npm ci 2>&1) || { echo "$$log" | tail -n 20 >&2; exit 1; }
	@touch $@

# ---- Locks -----------------------------------------------------------------------------------------------------------

COMPILE = .venv/bin/uv pip compile --quiet --system-certs --upgrade --generate-hashes --no-header --python-version 3.13
# $(call compile,<name>,<options>)
compile = $(COMPILE) $(2) requirements/$(1).in --output-file requirements/$(1).txt
# Deployed packages have the versions of dev.txt, which are the tested ones. They are resolved for Lambda's platform only:
# otherwise markers such as sys_platform would be evaluated on the building machine.
compile_shipped = $(COMPILE) --python-platform aarch64-manylinux_2_34 --constraints requirements/dev.txt \
	$(1)/requirements.in --output-file $(1)/requirements.txt
