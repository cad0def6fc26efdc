"""From instances as they are listed to a plan for this host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import Refused
from . import host
from .accounts import account
from .instances import parse
from .layout import Layout
from .planning import Asked, Plan, plan_present, wanted
from .revision import Item
from .runtime import Runtime, RuntimeState
from .tree import Directory


@dataclass(frozen=True)
class Planned:
    """What is to be done or was done, the processes that it was planned from, and the releases of those listed."""

    plan: Plan
    state: RuntimeState
    releases: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything changes."""
        return bool(self.plan)

    def steps(self) -> list[str]:
        """The steps as short texts, which never hold content."""
        return self.plan.steps()


@dataclass(frozen=True)
class Scope:
    """What a call concerns besides its instances: the host, and folders as `caelum_instance` takes them.

    With `check` nothing is changed. With `follow` releases and users may be still to be made.
    """

    layout: Layout
    runtime: Runtime
    directories: Sequence[Mapping[str, Any]] = ()
    check: bool = False
    follow: bool = False


def plan_instances(scope: Scope, items: Iterable[Item], services: Sequence[str]) -> Planned:
    """The plan that makes the host run `items` and nothing else of `services`; Refused when it cannot work."""
    layout, runtime = scope.layout, scope.runtime
    runtime.refuse_impossible()
    instances = parse(items, services, users_follow=scope.follow)
    listed = (_directory(item, layout.prefix, scope.follow) for item in scope.directories)
    asked = Asked(
        items=tuple(wanted(instance, layout, runtime, host.build(layout, instance)) for instance in instances),
        directories=(*layout.directories(), *runtime.directories(), *listed),
        shared=runtime.shared_files(instances),
        services=tuple(services),
    )
    seen = host.observe(layout, runtime, asked, releases_follow=scope.follow)
    plan = plan_present(asked, seen, runtime.daemon)
    more = host.refuse_impossible(plan, asked.items, layout, runtime, seen.runtime)
    if plan.write:
        runtime.refuse_invalid([*asked.shared, *(file for item in asked.items for file in item.programs)])
    plan = replace(plan, end=(*plan.end, *more))
    return Planned(plan, seen.runtime, {instance.name: instance.release for instance in instances})


def _directory(item: Mapping[str, Any], prefix: Path, owner_follows: bool) -> Directory:
    path = Path(prefix, item["path"])
    try:
        mode = int(item["mode"], 8)
    except ValueError:
        raise Refused(f"directory {path}: mode {item['mode']!r} is not octal; write it quoted, as in '0750'") from None
    if not item["owner"]:
        return Directory(path, mode)
    owner = account(item["owner"], f"directory {path}", follows=owner_follows)
    return Directory(path, mode, owner.uid, owner.gid)
