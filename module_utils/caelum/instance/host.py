"""Looks at a host for `planning`, refuses what cannot work there, and takes the plan's steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from .. import slots
from ..atomic import remove_tree
from ..errors import Refused
from . import procfs, tree
from .accounts import barred_folder
from .envfile import service_of
from .instances import Instance
from .layout import Layout
from .planning import Asked, Host, Plan, Present, Wanted
from .ports import taken_by
from .runtime import Leftover, Runtime, RuntimeState


def build(layout: Layout, instance: Instance) -> str:
    """What tells two builds of one version apart: the manifest of the instance's release, "" without one."""
    release = slots.service_root(layout.prefix, instance.service) / "releases" / instance.release
    found = tree.look(release / slots.MANIFEST, read=True)
    return (found.content or "") if found else ""


def observe(layout: Layout, runtime: Runtime, asked: Asked, *, releases_follow: bool = False) -> Host:
    """Everything that the plan for `asked` depends on; with `releases_follow` as if all its releases were complete."""
    files = [*asked.shared, *(file for item in asked.items for file in item.files)]
    return Host(
        runtime=runtime.observe(),
        found=tree.observe(asked.folders, files),
        slots={item.instance.name: _look_at_slot(layout, item.instance, releases_follow) for item in asked.items},
        present=present(layout, runtime, asked.services),
        programs=runtime.programs(),
        shared=runtime.shared_paths(asked.services),
    )


def present(layout: Layout, runtime: Runtime, services: Iterable[str], *, logs: bool = False) -> dict[str, Present]:
    """Instances of `services` that left anything under the prefix; the slot and the env file tell the service.

    The env file is the last of an instance's paths, so that an interrupted removal is found and finished.
    """
    scope = set(services)
    known = {path.name.removesuffix(".env"): service_of(path) for path in sorted(layout.config.glob("*.env"))}
    for service in sorted(scope):
        known |= dict.fromkeys(slots.slots_of(slots.service_root(layout.prefix, service)), service)
    return {
        name: Present(service, _paths(layout, runtime, name, service, logs=logs))
        for name, service in known.items()
        if service in scope
    }


def services_on(layout: Layout) -> list[str]:
    """Services that have releases or slots under the prefix, or an env file."""
    folders = [path.name for path in layout.services.iterdir()] if layout.services.is_dir() else []
    headers = [service_of(path) for path in layout.config.glob("*.env")]
    return sorted({*folders, *(service for service in headers if service)})


def everything(layout: Layout, runtime: Runtime) -> tuple[dict[str, Present], tuple[Path, ...]]:
    """All instances under the prefix with their logs, and what else this module made there, in order of removal."""
    services = services_on(layout)
    instances = present(layout, runtime, services, logs=True)
    files = runtime.own_files()
    going = {path for have in instances.values() for path in have.paths} | set(files)
    slot_folders = [slots.service_root(layout.prefix, service) / "slots" for service in services]
    ours = [*(directory.path for directory in (*runtime.directories(), *layout.directories())), *slot_folders]
    parents = [layout.prefix / "etc", layout.prefix / "var/log"]
    folders = sorted({*ours, *parents}, key=lambda path: len(path.parts), reverse=True)
    return instances, (*files, *tree.emptied(folders, going))


def _paths(layout: Layout, runtime: Runtime, name: str, service: str, *, logs: bool) -> tuple[Path, ...]:
    folder = layout.credentials_of(name)
    credentials = sorted(folder.iterdir()) if folder.is_dir() else []
    component, _, slot = name.partition("@")
    link = slots.slot_path(layout.prefix, service, component, slot)
    log_files = sorted(layout.logs.glob(f"{name}.log*")) if logs else []
    paths = (*runtime.program_paths(name), *credentials, folder, link, *log_files, layout.env_file(name))
    return tuple(path for path in paths if path.exists() or path.is_symlink())


def _look_at_slot(layout: Layout, instance: Instance, release_follows: bool) -> slots.Slots:
    have = slots.observe(_slot(layout, instance))
    return replace(have, complete=(*have.complete, instance.release)) if release_follows else have


def _slot(layout: Layout, instance: Instance) -> Path:
    return slots.slot_path(layout.prefix, instance.service, instance.component, instance.slot)


def refuse_impossible(
    plan: Plan, items: Sequence[Wanted], layout: Layout, runtime: Runtime, state: RuntimeState
) -> tuple[Leftover, ...]:
    """Refused when a port is taken or a user cannot reach its files.

    Returns processes to be ended first: those that hold a port of the very instance that wants it, though
    nothing supervises them.
    """
    about_to_start = {*plan.replace, *(item.instance.name for item in items if plan.start_daemon)}
    stopping = {*plan.replace, *plan.retire}
    ending = {leftover.pid for leftover in plan.end}
    found = []
    for item in items:
        instance = item.instance
        if instance.user and any(plan.changes[instance.name]):
            _refuse_barred(instance, layout)
        if instance.wanted_running and instance.port and instance.name in about_to_start:
            leftover = _refuse_taken(instance, runtime, state, stopping, ending)
            found += [leftover] if leftover else []
    return tuple(found)


def _refuse_taken(
    instance: Instance, runtime: Runtime, state: RuntimeState, stopping: set[str], ending: set[int]
) -> Leftover | None:
    owner = taken_by(instance.address, instance.port or 0)
    if owner is None:
        return None
    variable = instance.port_variable or "its port"
    line = f"{instance.name} cannot listen on port {instance.port} of {instance.address}: {owner} has it"
    if owner.pid is None:
        raise Refused(f"{line}; end that process or set {variable} to a free port")
    ancestors = procfs.lineage(owner.pid)
    if ending & set(ancestors):
        return None
    name = runtime.owner(owner.pid, instance.port or 0)
    if name is None:
        raise Refused(f"{line}; end that process or set {variable} to a free port")
    if state.pid in ancestors:
        if name in stopping:
            return None
        raise Refused(f"{line}, which runs as instance {name}; set {variable} to a free port")
    if name == instance.name:
        return Leftover(owner.pid, name, instance.stop_signal, instance.stop_wait)
    raise Refused(f"{line}, left over from instance {name}; end it with `kill {owner.pid}` or set {variable}")


def _refuse_barred(instance: Instance, layout: Layout) -> None:
    """Refused when the instance's user cannot enter a folder on the way to its release or its Python."""
    user = instance.user
    if user is None:
        return
    release = slots.service_root(layout.prefix, instance.service) / "releases" / instance.release
    runs_python = any("{python}" in argument for argument in instance.command)
    for path in (release, *([(release / "bin/python").resolve().parent] if runs_python else [])):
        folder = barred_folder(path, user)
        if folder:
            raise Refused(
                f"{instance.name}: user {user.name} cannot enter {folder} on the way to {path}; "
                f"allow it with `chmod o+x {folder}` or choose another prefix with -e caelum_prefix="
            )


def apply(plan: Plan, runtime: Runtime) -> None:
    """Take the plan's steps in their order; the first that fails ends it, and the next run goes on from there."""
    for directory in plan.directories:
        tree.make_directory(directory)
    if plan.end:
        runtime.end(plan.end)
    if plan.stop_daemon:
        runtime.stop()
    if plan.retire:
        runtime.retire(plan.retire)
    for path in plan.remove:
        if path in plan.trees and path.is_dir():
            remove_tree(path)
        else:
            tree.remove(path)
    for change in plan.write:
        tree.write_file(change.file)
    for switch, _ in plan.switch:
        switch.apply()
    touched = (*plan.remove, *(change.file.path for change in plan.write))
    if touched:
        runtime.reread(touched)
    if plan.start_daemon:
        runtime.start()
    if plan.replace:
        runtime.replace(plan.replace)


def report(plan: Plan, state: RuntimeState, runtime: Runtime, releases: Mapping[str, str]) -> list[dict[str, object]]:
    """What the module returns of each instance, those that went included; `releases` are name to version."""
    rows = []
    for name in dict.fromkeys([*releases, *plan.changes]):
        row: dict[str, object] = {"name": name, "changes": list(plan.changes.get(name, ()))}
        row |= {"release": releases[name]} if name in releases else {}
        process = state.processes.get(name)
        if process:
            row |= {"state": process.state, **runtime.log(name)}
            row |= {"pid": process.pid} if process.pid else {}
            row |= {"exit_status": process.exit_status} if process.exit_status is not None else {}
        rows.append(row)
    return rows
