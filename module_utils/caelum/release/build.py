"""Builds releases into the store: observes what is there, plans what is missing, makes it, each once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .. import versions
from ..errors import Refused
from . import locks, manifest
from .locks import Requirement
from .manifest import Manifest
from .sources import WORKTREE, Checkout, Snapshot
from .store import Store
from .target import Target, this_python

AUTO = "auto"
_SHOWN = 8  # versions that a refusal lists


@dataclass(frozen=True)
class Request:
    """One release that is wanted.

    `locks` maps each variant to its lock's path in the repository; a service without variants has the one variant
    "". `variant` is one of these or "auto". A service without `packages` is a third party's: it has a lock only.
    A tag of one of `components` names the release too.
    """

    service: str
    version: str
    locks: Mapping[str, str]
    packages: tuple[str, ...]
    variant: str = ""
    components: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        """All paths in the repository that decide the content."""
        return sorted({*self.packages, *self.locks.values()})


@dataclass(frozen=True)
class Rules:
    """What this environment allows: only dev builds untagged source or replaces a release; prod wants signed tags."""

    environment: str
    rebuild: bool = False
    allowed_signers: Path | None = None

    def __post_init__(self) -> None:
        if self.rebuild and self.environment != "dev":
            raise Refused(
                f"rebuild=true is for local use, this environment is {self.environment}; raise the version instead"
            )


@dataclass(frozen=True)
class Wanted:
    """A request with its source read; `variants` are those that would do, the preferred first."""

    request: Request
    snapshot: Snapshot
    variants: tuple[str, ...]

    def inputs(self, variant: str) -> dict[str, str]:
        """Path → sha256 of what decides the content of `variant`."""
        others = set(self.request.locks.values()) - {self.request.locks[variant]}
        return {path: digest for path, digest in self.snapshot.inputs.items() if path not in others}

    def requirements(self, variant: str) -> list[Requirement]:
        """The lock of `variant`, as far as it applies to this Python."""
        path = self.request.locks[variant]
        return locks.here(locks.parse(self.snapshot.files[path].decode(), path))


@dataclass
class Survey:
    """What is wanted, and what is in the store already."""

    missing: list[Wanted] = field(default_factory=list)
    present: list[tuple[Wanted, Manifest]] = field(default_factory=list)


def survey(requests: Sequence[Request], checkout: Checkout, store: Store, rules: Rules) -> Survey:
    """Compare `requests` with the store; starts two or three processes in all, since every deploy runs it.

    Refused when a version is none, has no tag where it needs one, or is in the store with other content.
    """
    for request in requests:
        versions.parse(request.version)
    reader = _Reader.over(checkout, requests, rules)
    target = this_python()
    found = Survey()
    for request in requests:
        wanted = reader.read(request)
        stored = store.manifest(request.service, request.version)
        difference = _difference(wanted, stored, target, rules) if stored else ""
        if stored is not None and not difference:
            found.present.append((wanted, stored))
        elif stored is None or rules.rebuild:
            found.missing.append(wanted)
        else:
            raise Refused(
                f"release {request.version} of {request.service} is in the store with other content ({difference}); "
                "raise the version, or in local pass -e rebuild=true"
            )
    return found


@dataclass(frozen=True)
class _Reader:
    """Reads the source of one request after the other; what can be asked of git at once was asked before."""

    checkout: Checkout
    rules: Rules
    tags: Mapping[str, str]
    worktree: Mapping[str, bytes]
    head: str | None

    @classmethod
    def over(cls, checkout: Checkout, requests: Sequence[Request], rules: Rules) -> _Reader:
        tags = checkout.tags([name for request in requests for name in _tag_names(request)])
        untagged = [request for request in requests if not any(name in tags for name in _tag_names(request))]
        paths = sorted({path for request in untagged for path in request.paths})
        return cls(checkout, rules, tags, checkout.worktree(paths) if paths else {}, checkout.head())

    def read(self, request: Request) -> Wanted:
        snapshot = self._snapshot(request)
        for path in request.paths:
            if not any(_is_under(name, path) for name in snapshot.files):
                raise Refused(
                    f"{path}, which {request.service} is built from, is not in {self.checkout.root} at "
                    f"{snapshot.source}; check the path"
                )
        return Wanted(request, snapshot, tuple(request.locks) if request.variant == AUTO else (request.variant,))

    def _snapshot(self, request: Request) -> Snapshot:
        tag = next((name for name in _tag_names(request) if name in self.tags), None)
        if tag is not None:
            if self.rules.environment == "prod":
                self.checkout.verify_tag(tag, self.rules.allowed_signers)
            return Snapshot(tag, self.tags[tag], self.checkout.tagged(tag, request.paths))
        if request.packages and self.rules.environment != "dev":
            raise Refused(self._untagged(request))
        files = {name: data for name, data in self.worktree.items() if any(_is_under(name, p) for p in request.paths)}
        return Snapshot(WORKTREE, self.head, files)

    def _untagged(self, request: Request) -> str:
        known = self.checkout.tagged_versions([request.service, *request.components])
        shown = ", ".join(known[:_SHOWN]) + (f" and {len(known) - _SHOWN} older" if len(known) > _SHOWN else "")
        return (
            f"release {request.version} of {request.service} has no git tag {request.version} in {self.checkout.root}, "
            f"and {self.rules.environment} builds from tags only; known: {shown or 'none'}; "
            f"tag the commit with `git tag -s {request.version}`"
        )


def _is_under(name: str, path: str) -> bool:
    return name == path or name.startswith(f"{path}/")


def _tag_names(request: Request) -> list[str]:
    """Tags that may hold the release, the narrower first; a third party's version is no tag of ours."""
    if not request.packages:
        return []
    narrow = dict.fromkeys([*request.components, request.service])
    return [*(f"{name}/{request.version}" for name in narrow), request.version]


def _difference(wanted: Wanted, stored: Manifest, target: Target, rules: Rules) -> str:
    """In words, what keeps the stored release from being the wanted one; "" when nothing does."""
    if stored.variant not in wanted.variants:
        return f"variant {stored.variant or 'none'}, wanted {' or '.join(wanted.variants)}"
    if (stored.abi, stored.platform) != (target.abi, target.platform):
        return f"built for {stored.abi} on {stored.platform}, this is {target.abi} on {target.platform}"
    if rules.environment != "dev" and stored.packages and stored.source == WORKTREE:
        return "built from a working tree, not from a tag"
    inputs = wanted.inputs(stored.variant)
    if manifest.content_digest(inputs, stored.variant, target.abi, target.platform) == stored.content:
        return ""
    changed = sorted(
        path for path in inputs.keys() | stored.inputs.keys() if inputs.get(path) != stored.inputs.get(path)
    )
    more = f" and {len(changed) - 1} more files differ" if len(changed) > 1 else " differs"
    return changed[0] + more
