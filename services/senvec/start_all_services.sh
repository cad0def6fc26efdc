#!/usr/bin/env bash
# The specification's other name for start_senvec_services.sh.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/start_senvec_services.sh" "$@"
