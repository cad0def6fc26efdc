"""What `caelum_instance` does for its options: the plan for `state`, and its steps unless in check mode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from ..errors import Refused
from . import host
from .arguments import Params, refuse_odd
from .converge import Planned, Scope, plan_instances
from .layout import Layout
from .planning import Host, Plan, plan_stopped
from .purge import plan_purge
from .revision import Item, Recorded, with_others
from .revisions import Revisions, apply_recorded
from .runtime import Runtime, RuntimeState


@dataclass(frozen=True)
class Outcome:
    """What was done, or in check mode would be, the processes after it, and what a release was recorded or read as.

    `releases` are those of the instances listed, by name.
    """

    plan: Plan
    state: RuntimeState
    releases: Mapping[str, str] = field(default_factory=dict)
    revision: Recorded | None = None
    fence: int | None = None

    @property
    def secrets(self) -> set[str]:
        """Credentials of the revision, which no output may hold."""
        items = self.revision.instances if self.revision else ()
        return {text for item in items for text in (item.get("credentials") or {}).values() if text}


def run(params: Params, layout: Layout, runtime: Runtime, *, check: bool) -> Outcome:
    """Plan, and apply unless `check`; Refused when it cannot be meant or cannot work."""
    refuse_odd(params, check=check)
    if params["state"] == "present":
        outcome = _present(params, layout, runtime, check=check)
    else:
        outcome = _leaving(params, layout, runtime)
        if not check:
            host.apply(outcome.plan, runtime)
    return outcome if check or not outcome.plan else replace(outcome, state=runtime.observe())


def _present(params: Params, layout: Layout, runtime: Runtime, *, check: bool) -> Outcome:
    scope = Scope(layout, runtime, params["directories"], check=check, follow=check and params["releases_follow"])
    if params["revision"] or params["recorded"]:
        return _recorded(params, scope)
    items = tuple(params["instances"])
    if params["keep_others"]:
        items = _with_kept(items, params["services"], scope)
    planned = plan_instances(scope, items, params["services"])
    if not check:
        host.apply(planned.plan, runtime)
    return Outcome(planned.plan, planned.state, planned.releases)


def _recorded(params: Params, scope: Scope) -> Outcome:
    revisions = Revisions(scope.layout.prefix, params["services"][0])
    with nullcontext() if scope.check else revisions.locked():
        what: Recorded
        if params["revision"]:
            what = revisions.wanted(params["revision"])
        else:
            items = tuple(params["instances"])
            if params["keep_others"]:
                items = _with_kept(items, params["services"], scope)
            what = Recorded(**{**params["recorded"], "tokens": tuple(params["recorded"]["tokens"]), "instances": items})
        planned: Planned = apply_recorded(scope, revisions, what, token=params["fencing_token"])
        return Outcome(planned.plan, planned.state, planned.releases, what, revisions.highest_token())


def _with_kept(items: Sequence[Item], services: Iterable[str], scope: Scope) -> tuple[Item, ...]:
    """`items` and the instances of the services' current revisions that they do not list."""
    kept: list[Item] = []
    for service in services:
        revision = Revisions(scope.layout.prefix, service).current()
        if revision is not None:
            kept += revision.instances
            continue
        listed = {str(item["name"]) for item in items}
        others = [name for name in host.present(scope.layout, scope.runtime, [service]) if name not in listed]
        if others:
            raise Refused(
                f"{', '.join(others)} of {service} cannot be kept: this host has no record of a whole release of "
                f"{service}; deploy it once without -e component= and with a release version"
            )
    return with_others(items, kept)


def _leaving(params: Params, layout: Layout, runtime: Runtime) -> Outcome:
    """The plan for the states in which nothing runs."""
    going = plan_purge(layout, runtime, params["purge_also"]) if params["purge"] else None
    state = runtime.observe(insist=False)
    if params["state"] == "stopped":
        return Outcome(plan_stopped(Host(state), runtime.daemon), state)
    instances, more = host.everything(layout, runtime)
    plan = plan_stopped(Host(state, present=instances), runtime.daemon, more)
    if going is not None:
        plan = replace(plan, remove=(*going.trees, *going.files, *going.folders), trees=frozenset(going.trees))
    elif layout.revisions.is_dir():  # they hold credentials, and say what runs here, which is nothing from now on
        plan = replace(plan, remove=(*plan.remove, layout.revisions), trees=frozenset({layout.revisions}))
    return Outcome(plan, state)
