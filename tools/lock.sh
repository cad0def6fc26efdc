#!/usr/bin/env bash
# Pins every environment with hashes (`make locks`). dev.txt is resolved first and constrains the rest, so that
# tests run on the versions that are deployed. The files hold no index addresses: any mirror serves.
# The wheel torch==…+cpu is looked for in PIP_FIND_LINKS and PIP_EXTRA_INDEX_URL.
set -euo pipefail
cd "$(dirname "$0")/../locks"
uv=${UV:-../.venv/bin/uv}
common=(--quiet --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --python-version 3.11)
compile() { # NAME OPTION...
  local name=$1; shift
  "$uv" pip compile "${common[@]}" "$@" "$name.in" -o "$name.txt"
}
compile dev --universal
compile controller --universal --constraint dev.txt
compile postgresql --universal --constraint dev.txt
compile senvec --universal --constraint dev.txt --override data-only.overrides --no-emit-package numpy
for name in fincoll pim finvec-cuda; do
  compile "$name" --universal --constraint dev.txt --override data-only.overrides
done
cpu=(--python-platform x86_64-manylinux_2_28)
[ -z "${PIP_FIND_LINKS:-}" ] || cpu+=(--find-links "$PIP_FIND_LINKS")
[ -z "${PIP_EXTRA_INDEX_URL:-}" ] || cpu+=(--extra-index-url "$PIP_EXTRA_INDEX_URL")
compile finvec-cpu "${cpu[@]}" --constraint dev.txt --override data-only.overrides
