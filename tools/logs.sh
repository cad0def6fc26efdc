#!/bin/sh
# Follows the logs of a component's instances; names those there are when none matches.
prefix=$1 component=$2
cd "$prefix/var/log/caelum" 2>/dev/null || { echo "nothing is deployed under $prefix; deploy with: make deploy VERSION=v1.1.0" >&2; exit 1; }
# shellcheck disable=SC2086  # the component may be the pattern *
set -- $component@*.log
if [ ! -e "$1" ]; then
  echo "no log of component $component; known: $(find . -name '*@*.log' | sed 's|^./||;s|@.*||' | sort -u | tr '\n' ' ')" >&2
  exit 1
fi
exec tail -n 100 -F "$@"
