"""The vector's schema is the contract between training and serving: its shape and hash must not drift unseen."""

import hashlib
import json
from importlib.resources import files

import yaml

from caelum_common.vector import WIDTH, schema


def test_the_dimensions_are_contiguous_and_uniquely_named():
    dimensions = schema().dimensions
    assert [dimension.index for dimension in dimensions] == list(range(WIDTH))
    assert len({dimension.name for dimension in dimensions}) == WIDTH


def test_the_groups_are_the_four_services_in_wire_order():
    assert schema().groups == {
        "sentimentrader": range(23),
        "alphavantage": range(23, 41),
        "social": range(41, 64),
        "news": range(64, 72),
    }


def test_each_dimension_says_what_it_is():
    for dimension in schema().dimensions:
        assert dimension.formula, dimension.name
        assert dimension.unit, dimension.name
        assert dimension.source, dimension.name
        assert dimension.clip in ((-1, 1), (0, 1)), dimension.name


def test_the_hash_covers_the_content_and_nothing_else():
    text = (files("caelum_common") / "senvec-72.yml").read_text(encoding="utf-8")
    content = yaml.safe_load("# a comment changes nothing\n" + text)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert schema().hash == hashlib.sha256(canonical.encode()).hexdigest()
    content["dimensions"][3]["window"] = 99
    changed = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert schema().hash != hashlib.sha256(changed.encode()).hexdigest()


def test_the_document_carries_all_dimensions_and_is_json():
    document = json.loads(json.dumps(schema().document()))
    assert document["name"] == "senvec-72/1"
    assert document["hash"] == schema().hash
    assert len(document["dimensions"]) == WIDTH
