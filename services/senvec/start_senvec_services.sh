#!/usr/bin/env bash
# Runs SenVec's five services in the foreground, and the replay server that feeds the sample; Ctrl-C stops them all.
#
#   PYTHON            the Python to run them with (else the active virtual environment's, else the deployed release's)
#   CAELUM_PREFIX     where a deploy put things (else where `make deploy` puts them)
#   CAELUM_PORT_BASE  added to every port (0)
#   CAELUM_DATA       sample (the default) or live; the sample's news come from the replay server
set -euo pipefail

checkout=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
base=${CAELUM_PORT_BASE:-0}
bind=${CAELUM_BIND:-127.0.0.1}
data=${CAELUM_DATA:-sample}
components=(sentimentrader alphavantage social news aggregator)
declare -A ports=([aggregator]=$((base + 18000)) [sentimentrader]=$((base + 18001)) [alphavantage]=$((base + 18002))
  [social]=$((base + 18003)) [news]=$((base + 18004)) [replay]=$((base + 18090)))
declare -A names=()

refuse() {
  echo "cannot start: $1" >&2
  exit 1
}

find_python() {
  local released="${CAELUM_PREFIX:-$("$checkout/tools/prefix.sh")}/opt/caelum/senvec/slots/aggregator@stable/bin/python"
  if [[ -n ${PYTHON:-} ]]; then
    echo "$PYTHON"
  elif [[ -n ${VIRTUAL_ENV:-} ]] && "$VIRTUAL_ENV/bin/python" -c 'import senvec' 2>/dev/null; then
    echo "$VIRTUAL_ENV/bin/python"
  elif [[ -x $released ]]; then
    echo "$released"
  else
    refuse "no Python with SenVec: none in the active virtual environment, no release at $released; run make deploy or set PYTHON"
  fi
}

refuse_taken_ports() {
  local name
  for name in "$@"; do
    if (exec 3<>"/dev/tcp/$bind/${ports[$name]}") 2>/dev/null; then
      refuse "port ${ports[$name]} of $name on $bind is in use; stop what holds it or set CAELUM_PORT_BASE"
    fi
  done
}

# start NAME MODULE: its output goes on with its name before each line.
start() {
  "$python" -m "$2" > >(trap '' INT TERM; exec sed -u "s/^/[$1] /") 2>&1 &
  names[$!]=$1
}

# shellcheck disable=SC2329 # the trap calls it
stop_all() {
  trap - INT TERM
  kill "${!names[@]}" 2>/dev/null || true
  wait
  exit 0
}

python=$(find_python)
"$python" -c 'import senvec' 2>/dev/null || refuse "$python can't import senvec; install services/senvec into it or unset PYTHON"
replay=()
if [[ $data == sample && -z ${SENVEC_NEWS_FEEDS:-} ]]; then
  replay=(replay)
  export SENVEC_NEWS_FEEDS="[\"http://$bind:${ports[replay]}/rss/{symbol}\"]"
fi
refuse_taken_ports "${components[@]}" "${replay[@]}"

upstreams=""
for name in sentimentrader alphavantage social news; do
  upstreams+="${upstreams:+, }\"$name\": \"http://$bind:${ports[$name]}\""
done
export CAELUM_BIND=$bind CAELUM_DATA=$data SENVEC_UPSTREAMS="{$upstreams}"

trap stop_all INT TERM
for name in "${replay[@]}"; do
  SENVEC_REPLAY_PORT=${ports[$name]} start "$name" senvec.replay
done
for name in "${components[@]}"; do
  SENVEC_COMPONENT=$name SENVEC_PORT=${ports[$name]} start "$name" senvec.server
done
echo "SenVec starts on http://$bind:${ports[aggregator]}; try /features/AAPL. Ctrl-C stops it."

while ((${#names[@]})); do
  code=0
  wait -n -p ended "${!names[@]}" || code=$?
  echo "${names[$ended]} ended with code $code; the others go on" >&2
  unset "names[$ended]"
done
echo "all services ended" >&2
exit 1
