"""Filters of the roles: a shim over tested Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ansible.module_utils

# Ansible bundles the checkout's module_utils into modules, but leaves them out of the controller's own path.
ansible.module_utils.__path__.append(str(Path(__file__).parents[2] / "module_utils"))

from ansible.module_utils.caelum import topology, versions  # noqa: E402
from ansible.module_utils.caelum.errors import Refused  # noqa: E402


def refusal(version: str, runtime: str, inventory: str) -> str:
    """Why a run cannot work, as one line; empty when it can."""
    if not version:
        return "no version given; name one, for example `-e version=v1.1.0`"
    try:
        versions.parse(str(version))
    except Refused as refused:
        return str(refused)
    if runtime != "native":
        return (
            f"runtime {runtime} of inventory {inventory} is not supported yet; the supported one is native: "
            f"`ansible-playbook -i inventory/local deploy.yml -e version={version}`"
        )
    return ""


class FilterModule:
    """What Ansible looks for in this folder."""

    def filters(self) -> dict[str, Any]:
        """Names that templates use, with the functions behind them."""
        return {
            "caelum_as_root": topology.as_root,
            "caelum_changed_components": topology.changed_components,
            "caelum_fincoll_instances": topology.fincoll_instances,
            "caelum_local_prefix": topology.local_prefix,
            "caelum_merge_instances": topology.merge_instances,
            "caelum_probes": topology.probes,
            "caelum_refusal": refusal,
            "caelum_report_probes": topology.report_probes,
            "caelum_senvec_instances": topology.senvec_instances,
            "caelum_token_hashes": topology.token_hashes,
            "caelum_token_rows": topology.token_rows,
            "caelum_url_of": topology.url_of,
            "caelum_urls": topology.urls,
        }
