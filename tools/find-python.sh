#!/bin/sh
# Prints the first Python on the path that can run the project: 3.11 or newer, with venv and pip in it.
# Fails with one line that names what is missing and the command that installs it.
found=""
for name in ${PYTHON:-python3 python3.11 python3.12 python3.13}; do
  "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
  found=$name
  if "$name" -c 'import ensurepip, venv' 2>/dev/null; then
    "$name" -c 'import sys; print(sys.executable)'
    exit 0
  fi
done
if [ -n "$found" ]; then
  minor=$("$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  echo "$found has no venv module; install it: apt-get install python${minor}-venv" >&2
else
  echo "no Python 3.11 or newer on the path; install it: apt-get install python3 python3-venv, or name one: make PYTHON=/path/to/python3" >&2
fi
exit 1
