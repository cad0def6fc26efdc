#!/usr/bin/env bash
# Makes a virtual environment from locks, anew whenever a lock, the interpreter or the checkout's place changes.
# Usage: tools/environment.sh FOLDER LOCK...     (a path file makes the services, and what the modules share, importable
# when LOCK holds dev.txt; it is written each time, since it is no part of what the environment is made from)
# The old environment stays until its successor is whole. Where .venv has uv, pip only downloads, since its settings say
# from where, and uv installs, since it takes seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1; shift
wheels=.cache/wheels
old=.cache/old$folder
python=$(tools/find-python.sh)
wanted=$({ echo "$PWD" "$python"; "$python" -V; cat "$@"; } | sha256sum)
mkdir -p "$wheels"
exec 9<tools/environment.sh
flock 9 # two makes at once: the second finds the work done
[ ! -d "$old" ] || { rm -rf "$folder"; mv "$old" "$folder"; } # an earlier run was killed
make_importable() { # LOCK...
  [[ " $* " == *dev.txt* ]] || return 0
  local site
  site=$(echo "$folder"/lib/python3*/site-packages)
  printf '%s\n' "$PWD"/services/*/src "$PWD/module_utils" >"$site/caelum.pth.new"
  mv "$site/caelum.pth.new" "$site/caelum.pth" # whoever starts a Python now finds the old one or this
}
if [ "$(cat "$folder/.made-from" 2>/dev/null)" = "$wanted" ]; then
  make_importable "$@"
  exit 0
fi

requirements=()
for lock in "$@"; do requirements+=(--requirement "$lock"); done
echo "preparing $folder from $* …"
start=$SECONDS
work=$(mktemp -d)
made=""
# shellcheck disable=SC2329 # the trap calls it
finish() {
  rm -rf "$work"
  if [ -z "$made" ] && [ -d "$old" ]; then
    rm -rf "$folder"
    mv "$old" "$folder"
  fi
}
trap finish EXIT

download() { # side by side, since most of the time goes into reading index pages
  local part pid pids=() failed=0
  awk -v work="$work" -v jobs="$(nproc)" '/^[^ #]/ { skip = seen[$0]++; job = total++ % jobs }
    /^[^#]/ && !skip { print >(work "/part-" job) }' "$@"
  for part in "$work"/part-*; do
    .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
      --require-hashes --dest "$wheels" --requirement "$part" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
  return "$failed"
}
with_uv() { # PYTHON OPTION...
  .venv/bin/uv pip install --quiet --python "$@" --cache-dir .cache/uv --offline --no-index \
    --find-links "$wheels" --no-deps --require-hashes "${requirements[@]}"
}
with_pip() {
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes "${requirements[@]}"
}
install() {
  if [ "$folder" != .venv ]; then # all wheels are here before the old environment goes
    with_uv .venv/bin/python --dry-run --reinstall 2>/dev/null || download "$@" || return
  fi
  [ ! -d "$folder" ] || mv "$folder" "$old"
  "$python" -m venv "$folder" || return
  if [ "$folder" = .venv ]; then with_pip; else with_uv "$folder/bin/python"; fi
}

if ! install "$@" >"$work/log" 2>&1; then
  cat "$work/log" >&2
  echo "could not install $*: see the lines above; a package index must be reachable (pip's own settings apply: PIP_INDEX_URL, pip.conf)" >&2
  exit 1
fi
make_importable "$@"
echo "$wanted" >"$folder/.made-from"
made=yes
rm -rf "$old"
echo "prepared $folder in $((SECONDS - start)) s"
