"""The schema of the sentiment vector: what each of the 72 dimensions means."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

WIDTH = 72


@dataclass(frozen=True, slots=True)
class Dimension:
    """One feature: `window` and `half_life` in days, `clip` the range of its values, `source` the field it is from."""

    index: int
    name: str
    group: str
    formula: str
    unit: str
    window: float | None
    clip: tuple[float, float]
    half_life: float | None
    source: str


@dataclass(frozen=True, slots=True)
class Schema:
    """The whole vector. `hash` stands in each vector, checkpoint and answer; consumers refuse another one."""

    name: str
    hash: str
    dimensions: tuple[Dimension, ...]
    groups: dict[str, range]

    def document(self) -> dict[str, Any]:
        """The schema as JSON tells it."""
        return {"name": self.name, "hash": self.hash, "dimensions": [asdict(each) for each in self.dimensions]}


@cache
def schema() -> Schema:
    """The schema in `senvec-72.yml`; its hash is the SHA-256 of the file's content as canonical JSON."""
    text = (files("caelum_common") / "senvec-72.yml").read_text(encoding="utf-8")
    content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    dimensions = tuple(
        Dimension(**{**fields, "clip": (fields["clip"][0], fields["clip"][1])}) for fields in content["dimensions"]
    )
    groups: dict[str, range] = {}
    for dimension in dimensions:
        start = groups.get(dimension.group, range(dimension.index, 0)).start
        groups[dimension.group] = range(start, dimension.index + 1)
    return Schema(content["name"], hashlib.sha256(canonical.encode()).hexdigest(), dimensions, groups)
