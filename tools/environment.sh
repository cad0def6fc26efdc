#!/usr/bin/env bash
# Makes a virtual environment from locks, anew whenever a lock or the interpreter changes.
# Usage: tools/environment.sh FOLDER LOCK...     (a path file makes the services importable when LOCK holds dev.txt)
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1; shift
python=$(tools/find-python.sh)
wanted=$({ echo "$python"; "$python" -V; cat "$@"; } | sha256sum)
[ "$(cat "$folder/.made-from" 2>/dev/null)" != "$wanted" ] || exit 0

requirements=()
for lock in "$@"; do requirements+=(--requirement "$lock"); done
echo "preparing $folder from $* …"
start=$SECONDS
rm -rf "$folder"
"$python" -m venv "$folder"
log=$(mktemp); trap 'rm -f "$log"' EXIT
if ! "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes "${requirements[@]}" >"$log" 2>&1; then
  cat "$log" >&2
  echo "could not install $*: see the lines above; a package index must be reachable (pip's own settings apply: PIP_INDEX_URL, pip.conf)" >&2
  exit 1
fi
if [[ " $* " == *dev.txt* ]]; then
  site=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  printf '%s\n' "$PWD"/services/*/src >"$site/caelum.pth"
fi
echo "$wanted" >"$folder/.made-from"
echo "prepared $folder in $((SECONDS - start)) s"
