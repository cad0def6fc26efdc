"""Filters of the roles: a shim over tested Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ansible.module_utils
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.utils.vars import load_extra_vars

ROOT = Path(__file__).parents[2]
# Ansible bundles the checkout's module_utils into modules, but leaves them out of the controller's own path.
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

from ansible.module_utils.caelum import preflight, topology  # noqa: E402


def refusal(version: str, service: str, inventory: str, runtime: str, prefix: str) -> str:
    """Why a run cannot work, as one line; empty when it can. Knows the command line and the roles' argument specs."""
    specs = (ROOT / "roles").glob("*/meta/argument_specs.yml")
    asked = preflight.Asked(
        version=str(version),
        service=str(service),
        inventory=str(inventory),
        runtime=str(runtime),
        prefix=str(prefix),
        as_root=topology.as_root(prefix),
        given=tuple(load_extra_vars(DataLoader())),
        known=preflight.declared(yaml.safe_load(spec.read_text()) for spec in specs),
    )
    return str(preflight.refusal(asked))


class FilterModule:
    """What Ansible looks for in this folder."""

    def filters(self) -> dict[str, Any]:
        """Names that templates use, with the functions behind them."""
        return {
            "caelum_as_root": topology.as_root,
            "caelum_changed_components": topology.changed_components,
            "caelum_commit_of": topology.commit_of,
            "caelum_controller_pid": topology.controller_pid,
            "caelum_fincoll_instances": topology.fincoll_instances,
            "caelum_local_prefix": topology.local_prefix,
            "caelum_merge_instances": topology.merge_instances,
            "caelum_owned": topology.owned,
            "caelum_probes": topology.probes,
            "caelum_refusal": refusal,
            "caelum_releases": topology.releases,
            "caelum_report_probes": topology.report_probes,
            "caelum_senvec_instances": topology.senvec_instances,
            "caelum_token_hashes": topology.token_hashes,
            "caelum_token_rows": topology.token_rows,
            "caelum_url_of": topology.url_of,
            "caelum_urls": topology.urls,
        }
