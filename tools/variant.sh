#!/usr/bin/env bash
# Prints the lock of FinVec that this machine can install: the CPU build of PyTorch where its one wheel fits and is to
# be had, else the CUDA build. The answer is remembered, since a bad minute of the network must not change it.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv}/bin/python
choice=.cache/finvec-variant
key=$({ cat locks/finvec-cpu.txt; "$python" -VV; env | sed -n '/^PIP_/p' | sort; } | sha256sum | cut -c1-64)
if read -r known lock 2>/dev/null <"$choice" && [ "$known" = "$key" ]; then
  echo "$lock"
  exit 0
fi

fits() { # the lock is resolved for Python 3.11, and its torch has a wheel for this platform alone
  "$python" -c 'import platform, sys
sys.exit((*sys.version_info[:2], sys.platform, platform.machine(), platform.libc_ver()[0]) != (3, 11, "linux", "x86_64", "glibc"))'
}

mkdir -p .cache/wheels
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed -n '/^torch==/,/[^\\]$/p' locks/finvec-cpu.txt >"$work/torch.txt"
lock=locks/finvec-cuda.txt
if fits && "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
  --find-links .cache/wheels --dest .cache/wheels --requirement "$work/torch.txt" >"$work/log" 2>&1; then
  lock=locks/finvec-cpu.txt
fi
# "No" from an index that could not be reached is asked again the next time.
grep -qs 'Retrying\|onnection' "$work/log" || echo "$key $lock" >"$choice"
echo "$lock"
