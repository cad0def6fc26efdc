"""Filters of the roles: a shim over tested Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ansible.module_utils

# Ansible bundles the checkout's module_utils into modules, but leaves them out of the controller's own path.
ansible.module_utils.__path__.append(str(Path(__file__).parents[2] / "module_utils"))

from ansible.module_utils.caelum import topology, versions  # noqa: E402
from ansible.module_utils.caelum.errors import Refused  # noqa: E402


def version_refusal(text: str) -> str:
    """Why `text` is not a version, as one line; empty when it is one."""
    try:
        versions.parse(str(text))
    except Refused as refusal:
        return str(refusal)
    return ""


class FilterModule:
    """What Ansible looks for in this folder."""

    def filters(self) -> dict[str, Any]:
        """Names that templates use, with the functions behind them."""
        return {
            "caelum_changed_components": topology.changed_components,
            "caelum_fincoll_instances": topology.fincoll_instances,
            "caelum_local_prefix": topology.local_prefix,
            "caelum_merge_instances": topology.merge_instances,
            "caelum_probes": topology.probes,
            "caelum_report_probes": topology.report_probes,
            "caelum_senvec_instances": topology.senvec_instances,
            "caelum_token_hashes": topology.token_hashes,
            "caelum_token_rows": topology.token_rows,
            "caelum_url_of": topology.url_of,
            "caelum_urls": topology.urls,
            "caelum_version_refusal": version_refusal,
        }
