#!/bin/sh
# Prints the lock of FinVec that this machine can install: the CPU build of PyTorch where its wheel is to be had.
cd "$(dirname "$0")/.." || exit 1
pin=$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' locks/finvec-cpu.txt)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if ls .cache/wheels/torch-*+cpu-*.whl >/dev/null 2>&1 \
  || "${1:-.venv}/bin/python" -m pip download --quiet --no-deps --dest "$folder" "$pin" >/dev/null 2>&1; then
  echo locks/finvec-cpu.txt
else
  echo locks/finvec-cuda.txt
fi
