"""Filters of the roles: a shim over tested Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ansible.module_utils
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.utils.vars import load_extra_vars

ROOT = Path(__file__).parents[2]
# Ansible bundles the checkout's module_utils into modules, but leaves them out of the controller's own path.
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

from ansible.module_utils.caelum import components, drift, fleet, operations, rollout, topology  # noqa: E402
from ansible.module_utils.caelum.adopt import words as adopt_words  # noqa: E402
from ansible.module_utils.caelum.preflight import command_line  # noqa: E402
from ansible.module_utils.caelum.preflight.asked import Asked, declared  # noqa: E402
from ansible.module_utils.caelum.preflight.inventory import placeholders  # noqa: E402
from ansible.module_utils.caelum.release import target, wanted  # noqa: E402


def refusal(asked: Mapping[str, Any], build: bool = False) -> str:
    """Why a run, with `build` a mere build, cannot work, as one line; empty when it can.

    `asked` has the fields of `preflight.asked.Asked`; the command line and the roles' argument specs are added.
    """
    # the loader in C takes a tenth of the time, which every run would wait for
    specs = (
        yaml.load(spec.read_text(), yaml.CSafeLoader) for spec in (ROOT / "roles").glob("*/meta/argument_specs.yml")
    )
    texts = {name: value if isinstance(value, Mapping | list | tuple) else str(value) for name, value in asked.items()}
    found = Asked(
        **texts,
        as_root=topology.as_root(str(asked.get("prefix", "/"))),
        given=load_extra_vars(DataLoader()),
        known=declared(specs),
    )
    return str(command_line.build_refusal(found) if build else command_line.refusal(found))


def python_target(python: str) -> dict[str, str]:
    """ABI and platform of the interpreter that releases are built with."""
    found, _ = target.ask(Path(python))
    return {"abi": str(found.abi), "platform": str(found.platform)}


def operation_refusal(inventory: str, service: str, runtime: str, prefix: str) -> str:
    """Why a run that names no version cannot work, as one line; empty when it can."""
    return refusal(
        {"version": "v0.0.0", "inventory": inventory, "service": service, "runtime": runtime, "prefix": prefix}
    )


class FilterModule:
    """What Ansible looks for in this folder."""

    def filters(self) -> dict[str, Any]:
        """Names that templates use, with the functions behind them."""
        return {
            "caelum_abort_lines": operations.abort_lines,
            "caelum_adopt_lines": adopt_words.lines,
            "caelum_adopt_outcome": adopt_words.outcome,
            "caelum_adopt_results": adopt_words.results,
            "caelum_adopt_taken": adopt_words.taken,
            "caelum_as_root": topology.as_root,
            "caelum_brought": operations.brought,
            "caelum_before_release_slots": fleet.before_release_slots,
            "caelum_changes": rollout.changes,
            "caelum_controller_pid": topology.controller_pid,
            "caelum_drift": drift.drift,
            "caelum_earlier": rollout.earlier,
            "caelum_drift_lines": drift.lines,
            "caelum_fincoll_instances": topology.fincoll_instances,
            "caelum_fincoll_urls": fleet.fincoll_urls,
            "caelum_finvec_instances": fleet.finvec_instances,
            "caelum_group_sizes": fleet.group_sizes,
            "caelum_given": rollout.configs,
            "caelum_given_model": rollout.model,
            "caelum_going": rollout.going,
            "caelum_going_back": operations.going_back,
            "caelum_half_way": operations.half_way,
            "caelum_history_lines": operations.history_lines,
            "caelum_host_events": rollout.events,
            "caelum_hosts": components.hosts,
            "caelum_left": rollout.left,
            "caelum_local_prefix": topology.local_prefix,
            "caelum_look_at": rollout.instances,
            "caelum_lost": rollout.lost,
            "caelum_machines": rollout.machines,
            "caelum_merge_instances": topology.merge_instances,
            "caelum_narrowed": operations.narrowed,
            "caelum_narrowed_releases": components.narrowed_releases,
            "caelum_operation_refusal": operation_refusal,
            "caelum_owned": topology.owned,
            "caelum_partly": rollout.partly,
            "caelum_peers": fleet.peers,
            "caelum_placeholders": placeholders,
            "caelum_plan": rollout.plan,
            "caelum_ports": topology.ports,
            "caelum_probes": topology.probes,
            "caelum_reached": rollout.reached,
            "caelum_recorded": operations.recorded,
            "caelum_recorded_probes": operations.recorded_probes,
            "caelum_recorded_releases": operations.recorded_releases,
            "caelum_refusal": refusal,
            "caelum_releases_here": wanted.releases_here,
            "caelum_releases": topology.releases,
            "caelum_rolled_out": rollout.rolled_out,
            "caelum_report_probes": topology.report_probes,
            "caelum_run": topology.run_name,
            "caelum_scope": rollout.scope,
            "caelum_senvec_instances": topology.senvec_instances,
            "caelum_service_users": fleet.service_users,
            "caelum_share_folders": fleet.share_folders,
            "caelum_slots_of": fleet.slots_of,
            "caelum_state_directories": fleet.state_directories,
            "caelum_steps_of": rollout.steps_of,
            "caelum_supervised": fleet.supervised,
            "caelum_taken_back": rollout.taken_back,
            "caelum_target": python_target,
            "caelum_token_hashes": topology.token_hashes,
            "caelum_token_rows": topology.token_rows,
            "caelum_tokens_of": fleet.tokens_of,
            "caelum_trouble": rollout.trouble,
            "caelum_unfit": fleet.unfit,
            "caelum_url_of": topology.url_of,
            "caelum_urls": topology.urls,
            "caelum_with_job": fleet.with_job,
            "caelum_verified": operations.verified,
            "caelum_well": rollout.well,
            "caelum_with_manifests": wanted.with_manifests,
            "caelum_with_provider_keys": fleet.with_provider_keys,
        }
