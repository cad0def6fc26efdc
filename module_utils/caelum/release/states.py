"""The states of module caelum_release: parameters in, result out; each observes, plans and applies."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import versions
from ..errors import Refused
from ..progress import Progress
from ..slots import complete_releases, service_root, slots_of
from . import locks, manifest, publish, signing, target, trust
from .assemble import Workshop, assemble
from .build import AUTO, Request, Rules, Survey, Wanted, survey
from .guard import Beat, guarded
from .installed import Host, Install, plan_installs
from .manifest import Manifest
from .offer import Offer
from .pool import Pool
from .prune import Keep, plan_prune, used
from .sources import Checkout
from .store import Store
from .verified import Verifier

Params = Mapping[str, Any]


def built(params: Params, check_mode: bool) -> dict[str, Any]:
    """Put into the store what it lacks."""
    requests = [_request(entry) for entry in _services(params)]
    checkout, store = Checkout(Path(params["source"])), Store(Path(params["store"]))
    signers = params["allowed_signers"]
    rules = Rules(params["environment_name"], params["rebuild"], Path(signers) if signers else None)
    found = survey(requests, checkout, store, rules)
    before = _lines(stored for _, stored in found.present)
    made: list[Manifest] = []
    if found.missing and not check_mode:
        progress = _progress(params)
        with store.building(progress):
            # another build may have made some while this one waited
            found = survey(requests, checkout, store, rules)
            made = assemble(found.missing, _workshop(params, checkout, store, progress))
    entries = _build_entries(found, made, store)
    return {
        "changed": bool(found.missing),
        "releases": [entries[request.service, request.version] for request in requests],
        "diff": {"before": before, "after": before + _lines(made) if made else before + _names(found.missing)},
    }


def installed(params: Params, check_mode: bool) -> dict[str, Any]:
    """Install on the host what it lacks; tells of releases that are still to be built or published."""
    services = _services(params)
    wanted = [(entry["name"], entry["version"]) for entry in services]
    python, base = target.ask(Path(params["python"] or sys.executable))
    host = Host(Path(params["prefix"]), base, python, _uv(params["uv"]))
    offer = Offer(
        Store(Path(params["store"])),
        params["public_key"],
        params["rebuild"],
        may_be_built=check_mode and params["may_be_built"],
        may_lack=params["may_lack"],
        expected={(one["name"], one["version"]): one["manifest"] for one in services if one["manifest"]},
        seconds=params["timeout"],
    )
    key = trust.plan_key(host.prefix, params["public_key"], params["replace_key"])
    plan = plan_installs(wanted, offer, host, _progress(params), check_mode)
    pending = {(one.manifest.service, one.manifest.version): one for one in plan.installs}
    if not check_mode:
        key.apply()
        for install in plan.installs:
            install.apply()
    unchanged = [key for key in wanted if key not in pending and key not in plan.awaited]
    return {
        "changed": bool(key or plan.installs or (check_mode and plan.awaited)),
        "lacking": [{"name": service, "version": version} for service, version in plan.awaited],
        "releases": [
            _awaited_entry(key) if key in plan.awaited else _installed_entry(host, key, pending.get(key))
            for key in wanted
        ],
        "diff": {
            "before": "".join(f"{service} {version}\n" for service, version in unchanged),
            "after": "".join(
                f"{key[0]} {key[1]}{' (after it is built)' if key in plan.awaited else ''}\n" for key in wanted
            )
            + str(key),
        },
        "warnings": _awaited_warnings(plan.awaited, offer) if check_mode else [],
    }


def _awaited_warnings(awaited: Iterable[tuple[str, str]], offer: Offer) -> list[str]:
    return [
        f"release {version} of {service} is not in the store {offer.store.path} yet; would install it after it is "
        "built, provided that it can be"
        for service, version in awaited
    ]


def published(params: Params, check_mode: bool) -> dict[str, Any]:
    """Put into the store of a share what it lacks of the releases that were built elsewhere."""
    releases = [(one["name"], str(versions.parse(one["version"])), one["manifest"]) for one in _services(params)]
    origin = Store(Path(params["origin"])) if params["origin"] else None
    store = Store(Path(params["store"]))
    terms = publish.Terms(signing.public_pem(params["public_key"]), check_mode, params["rebuild"])

    def work(beat: Beat) -> dict[str, list[str]]:
        return publish.publish(releases, origin, store, terms, beat)

    done: dict[str, list[str]] = guarded(work, params["timeout"], store.path)
    return done | {
        "changed": bool(done["published"] or (check_mode and done["lacking"])),
        "diff": {"before": "", "after": "".join(f"{name}\n" for name in [*done["published"], *done["lacking"]])},
    }


def listed(params: Params, check_mode: bool) -> dict[str, Any]:
    """Say what is in the store and on the host."""
    del check_mode
    store = Store(Path(params["store"])) if params["store"] else None
    prefix = Path(params["prefix"]) if params["prefix"] else None
    names = set(store.services()) if store else set()
    opt = prefix / "opt/caelum" if prefix else None
    if opt and opt.is_dir():
        names |= {entry.name for entry in opt.iterdir() if (entry / "releases").is_dir()}
    return {
        "changed": False,
        "listing": {
            name: {
                "store": store.versions(name) if store else [],
                "installed": complete_releases(service_root(prefix, name) / "releases") if prefix else [],
                "slots": slots_of(service_root(prefix, name)) if prefix else {},
            }
            for name in sorted(names)
        },
        "target": asdict(target.this_python()),
    }


def pruned(params: Params, check_mode: bool) -> dict[str, Any]:
    """Remove old releases, of the services named or of all; the versions given with the names stay."""
    if params["keep"] < 1:
        raise Refused(f"keep={params['keep']} would remove every release; give 1 or more")
    store = Store(Path(params["store"])) if params["store"] else None
    prefix = Path(params["prefix"]) if params["prefix"] else None
    named = [(entry["name"], str(versions.parse(entry["version"]))) for entry in _services(params)]
    keep = Keep(params["keep"], [*params["protect"], *(f"{service}/{version}" for service, version in named)])

    def work(beat: Beat) -> list[str]:
        removals = plan_prune(store, prefix, keep, {service for service, _ in named})
        for removal in removals:
            beat()
            if not check_mode:
                removal.apply()
        return [str(removal.path) for removal in removals]

    paths: list[str] = guarded(work, params["timeout"] if store else 0, store.path if store else Path())
    return {
        "changed": bool(paths),
        "removed": paths,
        "used": sorted(
            f"{service}/{version}"
            for service in {name for name, _ in named}
            for version in used(prefix, service, keep.newest)
        )
        if prefix
        else [],
        "diff": {"before": "".join(f"{path}\n" for path in paths), "after": ""},
    }


def verified(params: Params, check_mode: bool) -> dict[str, Any]:
    """Say which installed releases, of those named or of all, are not as they were installed."""
    del check_mode
    prefix, store = Path(params["prefix"]), Store(Path(params["store"])) if params["store"] else None
    named = [(entry["name"], entry["version"]) for entry in _services(params)]
    opt = prefix / "opt/caelum"
    services = sorted(entry.name for entry in opt.iterdir()) if opt.is_dir() else []
    every = [(name, version) for name in services for version in complete_releases(opt / name / "releases")]

    def work(beat: Beat) -> dict[str, Any]:
        verifier = Verifier(beat)
        verdicts = [
            verifier.verify(
                name,
                version,
                service_root(prefix, name) / "releases" / version,
                store.folder(name, version) if store else None,
            )
            for name, version in named or every
        ]
        return {
            "releases": [asdict(verdict) | {"path": str(verdict.path)} for verdict in verdicts],
            "findings": [line for verdict in verdicts for line in verdict.findings],
        }

    found: dict[str, Any] = guarded(work, params["timeout"] if store else 0, store.path if store else Path())
    return {"changed": False, **found}


STATES: Mapping[str, Callable[[Params, bool], dict[str, Any]]] = {
    "built": built,
    "installed": installed,
    "listed": listed,
    "pruned": pruned,
    "published": published,
    "verified": verified,
}


def _services(params: Params) -> list[Params]:
    """The entries of `services`; Refused when a name could not be a folder's."""
    for entry in params["services"]:
        if re.fullmatch(r"[a-z][a-z0-9-]{0,40}", entry["name"]) is None:
            raise Refused(f"{entry['name']!r} is not a service's name; it has small letters, digits and hyphens only")
    return list(params["services"])


def _request(entry: Params) -> Request:
    name, variant = entry["name"], entry["variant"]
    by_variant = {str(key): str(path) for key, path in (entry["variants"] or {"": entry["lock"]}).items()}
    if not all(by_variant.values()) or by_variant.get("") == "None":
        raise Refused(f"service {name} has no lock; give `lock`, or `variants` with a lock for each")
    if variant != AUTO and variant not in by_variant:
        known = ", ".join([*filter(None, by_variant), AUTO])
        raise Refused(f"service {name} has no variant {variant!r}; known: {known}")
    return Request(name, entry["version"], by_variant, tuple(entry["packages"]), variant, tuple(entry["components"]))


def _workshop(params: Params, checkout: Checkout, store: Store, progress: Progress) -> Workshop:
    key = Path(params["signing_key"])
    if params["create_key"] and not key.exists():
        signing.create_key(key)
    lock = checkout.root / params["uv_lock"]
    pinned = locks.here(locks.parse(lock.read_text(), params["uv_lock"])) if lock.is_file() else []
    return Workshop(
        checkout=checkout,
        store=store,
        pool=Pool(Path(params["pool"] or store.path / ".pool")),
        signing_key=key,
        uv=next((requirement for requirement in pinned if requirement.name == "uv"), None),
        jobs=params["jobs"],
        progress=progress,
    )


def _build_entries(found: Survey, made: Iterable[Manifest], store: Store) -> dict[tuple[str, str], dict[str, Any]]:
    entries = {(one.service, one.version): _entry(one, store.folder(one.service, one.version), True) for one in made}
    for _, stored in found.present:
        folder = store.folder(stored.service, stored.version)
        entries[stored.service, stored.version] = _entry(stored, folder, False)
    for wanted in found.missing:
        key = (wanted.request.service, wanted.request.version)
        entries.setdefault(key, _awaited_entry(key))
    return entries


def _entry(made: Manifest, folder: Path, changed: bool) -> dict[str, Any]:
    return {
        "service": made.service,
        "version": made.version,
        "changed": changed,
        "variant": made.variant,
        "source": made.source,
        "commit": made.commit,
        "dirty": made.dirty,
        "source_digest": made.content,
        "manifest_sha256": manifest.sha256(made.to_bytes()),
        "path": str(folder),
    }


def _awaited_entry(key: tuple[str, str]) -> dict[str, Any]:
    """What can be said of a release that is still to be built."""
    return {"service": key[0], "version": key[1], "changed": True}


def _installed_entry(host: Host, key: tuple[str, str], install: Install | None) -> dict[str, Any]:
    folder = host.release(*key)
    made = install.manifest if install else manifest.read(folder)
    if made is None:  # pruned under our feet
        raise Refused(f"release {key[1]} of {key[0]} vanished from {folder} meanwhile; run this again")
    return _entry(made, folder, install is not None)


def _lines(made: Iterable[Manifest]) -> str:
    return "".join(f"{one.service} {one.version} {one.variant}".rstrip() + f" {one.content[:12]}\n" for one in made)


def _names(missing: Iterable[Wanted]) -> str:
    return "".join(f"{one.request.service} {one.request.version} (to be built)\n" for one in missing)


def _progress(params: Params) -> Progress:
    return Progress(Path(params["progress"]) if params["progress"] else None)


def _uv(given: str | None) -> Path | None:
    path = Path(given) if given else Path(sys.executable).with_name("uv")
    if given and not path.is_file():
        raise Refused(f"there is no uv at {path}; correct `uv`, or leave it out to use the one in the release")
    return path if path.is_file() else None
