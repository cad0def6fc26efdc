"""Makes the releases that a survey found missing: wheels, requirements, manifest, signature; each is there whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..atomic import make_dirs, publish_dir
from ..errors import Refused
from ..progress import Progress
from . import manifest, signing, target
from .build import Wanted
from .download import fetch
from .locks import Requirement
from .manifest import Manifest
from .pool import Pool
from .sources import WORKTREE, Checkout
from .store import Store
from .wheels import Wheel, build_wheel


@dataclass(frozen=True)
class Workshop:
    """What building needs: where from, where to, the pool, the key, uv's own pin, and how many at once."""

    checkout: Checkout
    store: Store
    pool: Pool
    signing_key: Path
    uv: Requirement | None
    jobs: int
    progress: Progress


def assemble(missing: Sequence[Wanted], shop: Workshop) -> list[Manifest]:
    """Build all of `missing`, in that order; Refused, with nothing of that release left, when one cannot be."""
    if not missing:
        return []
    signing.sign(shop.signing_key, b"")  # an unusable key is told of before the long part
    chosen = [(wanted, _choose(wanted, shop)) for wanted in missing]
    _download(chosen, shop)
    with ThreadPoolExecutor(max_workers=shop.jobs) as workers:
        wheels = _own_wheels(missing, workers)
        return list(workers.map(lambda pair: _release(pair[0], pair[1], wheels, shop), chosen))


def _choose(wanted: Wanted, shop: Workshop) -> str:
    """The first variant whose wheels can be had, judged by those that no common index serves (`torch==2.13.0+cpu`)."""
    service = wanted.request.service
    refusal = None
    for variant in wanted.variants:
        special = [one for one in wanted.requirements(variant) if "+" in one.version and not shop.pool.find(one)]
        if refusal is not None:
            shop.progress.say(f"{service} {wanted.request.version}: taking variant {variant}: {refusal}")
        if not special or variant == wanted.variants[-1]:
            return variant
        try:
            shop.progress.say(
                f"{service} {wanted.request.version}: looking for {', '.join(one.pin for one in special)}"
            )
            fetch(shop.pool, special, shop.jobs, shop.progress)
        except Refused as error:
            refusal = error
        else:
            return variant
    raise Refused(f"{service} has no variant to build; give it a lock")


def _download(chosen: Sequence[tuple[Wanted, str]], shop: Workshop) -> None:
    """Fetch what the pool lacks for all releases at once: the more wheels, the better pips share the work."""
    needed: dict[tuple[str, frozenset[str]], Requirement] = {}
    shop.pool.hash_all([one for wanted, variant in chosen for one in wanted.requirements(variant)])
    for wanted, variant in chosen:
        lacking = [one for one in _all_requirements(wanted, variant, shop) if not shop.pool.find(one)]
        fresh = {(one.pin, one.hashes): one for one in lacking if (one.pin, one.hashes) not in needed}
        needed |= fresh
        if fresh:
            name = f"{wanted.request.service} {wanted.request.version}"
            shop.progress.say(f"{name}: downloading {len(fresh)} {'wheel' if len(fresh) == 1 else 'wheels'}")
    if needed:
        fetch(shop.pool, list(needed.values()), shop.jobs, shop.progress)


def _all_requirements(wanted: Wanted, variant: str, shop: Workshop) -> list[Requirement]:
    return wanted.requirements(variant) + ([shop.uv] if shop.uv else [])


def _own_wheels(missing: Sequence[Wanted], workers: ThreadPoolExecutor) -> Mapping[tuple[str, str], Wheel]:
    """(source, package) → wheel; one that several services hold is built once."""
    sources = {(one.snapshot.source, package): one for one in missing for package in one.request.packages}
    jobs = {key: workers.submit(build_wheel, key[1], one.snapshot.files) for key, one in sources.items()}
    return {key: job.result() for key, job in jobs.items()}


def _release(wanted: Wanted, variant: str, own: Mapping[tuple[str, str], Wheel], shop: Workshop) -> Manifest:
    """Write one release into a folder of its own, then give it its name."""
    request = wanted.request
    parent = shop.store.path / request.service
    make_dirs(parent)
    partial = Path(tempfile.mkdtemp(prefix=f".partial-{request.version}-", dir=parent))
    try:
        made = _fill(partial, wanted, variant, [own[wanted.snapshot.source, name] for name in request.packages], shop)
        partial.chmod(0o755)
        publish_dir(partial, shop.store.folder(request.service, request.version))
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    suffix = f" ({variant})" if variant else ""
    shop.progress.say(f"{request.service} {request.version}{suffix}: built")
    return made


def _fill(partial: Path, wanted: Wanted, variant: str, own: Sequence[Wheel], shop: Workshop) -> Manifest:
    files: dict[str, str] = {}
    make_dirs(partial / "wheels")
    lines = [wheel.line for wheel in own]
    for wheel in own:
        _write(partial, f"wheels/{wheel.file}", wheel.data, files)
    for requirement in _all_requirements(wanted, variant, shop):
        path = shop.pool.find(requirement)
        if path is None:
            raise Refused(f"the pool lost the wheel of {requirement.pin} while it was used; build again")
        _link(path, partial / "wheels" / path.name)
        files[f"wheels/{path.name}"] = shop.pool.digest(path)
        if requirement is not shop.uv:
            lines.append(requirement.line(shop.pool.digest(path)))
    _write(partial, "requirements.txt", "".join(f"{line}\n" for line in sorted(lines)).encode(), files)
    made = _describe(wanted, variant, own, files, shop)
    data = made.to_bytes()
    signature = signing.sign(shop.signing_key, data)
    _write(partial, manifest.NAME, data, {})
    _write(partial, manifest.SIGNATURE, signature, {})
    return made


def _describe(wanted: Wanted, variant: str, own: Sequence[Wheel], files: Mapping[str, str], shop: Workshop) -> Manifest:
    here = target.this_python()
    inputs = wanted.inputs(variant)
    snapshot = wanted.snapshot
    return Manifest(
        service=wanted.request.service,
        version=wanted.request.version,
        variant=variant,
        source=snapshot.source,
        commit=snapshot.commit,
        dirty=snapshot.source == WORKTREE and shop.checkout.is_dirty(wanted.request.paths),
        abi=here.abi,
        platform=here.platform,
        glibc=target.needed_glibc(name.rsplit("/", 1)[-1] for name in files if name.endswith(".whl")),
        packages=tuple(sorted(wheel.name for wheel in own)),
        inputs=inputs,
        files=dict(sorted(files.items())),
    )


def _write(folder: Path, name: str, data: bytes, files: dict[str, str]) -> None:
    (folder / name).write_bytes(data)
    (folder / name).chmod(0o644)
    files[name] = manifest.sha256(data)


def _link(source: Path, target_path: Path) -> None:
    """A hard link where the pool lies on the store's file system, else a copy."""
    try:
        os.link(source, target_path)
    except OSError:
        shutil.copyfile(source, target_path)
