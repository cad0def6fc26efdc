#!/bin/sh
# Prints the folder that a `local` deployment of this checkout writes to, as the filter caelum_local_prefix names it.
checkout=$(cd "$(dirname "$0")/.." && pwd -P) || exit 1
if [ "$(id -u)" = 0 ]; then
  printf '/opt/caelum-%.8s\n' "$(printf %s "$checkout" | sha256sum)"
else
  echo "$checkout/.caelum"
fi
