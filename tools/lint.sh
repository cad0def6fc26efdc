#!/usr/bin/env bash
# Every static check; the first that fails names itself.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv-dev/bin
export PATH="$PWD/$bin:$PATH"
check() { local what=$1; shift; "$@" || { echo "$what found something: see above" >&2; exit 1; }; }
check docs-check python tools/docs.py --check
check ruff ruff check --quiet .
check "ruff format" ruff format --quiet --check .
check mypy mypy --no-error-summary services library module_utils plugins tools tests molecule
check import-linter lint-imports --no-cache >/dev/null
check yamllint yamllint --strict .
check ansible-lint ansible-lint --offline -q --nocolor
git ls-files -z '*.sh' .ci/run | xargs -0 "$bin/shellcheck"
