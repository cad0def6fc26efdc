"""The page's parts, drawn from views made here."""

import math
import re
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from pim.dashboard import fan as drawing
from pim.dashboard import heat, history, page, render, topology
from pim.dashboard.board import History, View, prefix
from pim.dashboard.words import TONES, clock, lasted, moment, percent
from pim.database import DatabaseGone
from pim.fincoll import Fan, FinCollUnavailable, Outlook
from pim.health import MICROSERVICES
from pim.live import Observed
from pim.probes import Probe
from pim.senvec import Dimension, SenVecUnavailable, Vectors, read

NOW = datetime(2026, 3, 2, 9, 30, 5, tzinfo=UTC)
FAN = Fan(
    symbol="AAPL",
    closes=tuple((date(2013, 1, 1) + timedelta(days=n), 100.0 + n % 3) for n in range(30)),
    as_of=datetime(2013, 1, 30, 21, tzinfo=UTC),
    last_close=102.0,
    horizons=(1, 5, 10),
    quantiles=(0.05, 0.25, 0.5, 0.75, 0.95),
    log_returns=((-0.02, -0.01, 0.001, 0.01, 0.02), (-0.05, -0.02, 0.002, 0.02, 0.05), (-0.1, -0.04, 0, 0.04, 0.1)),
)
OUTLOOK = Outlook(
    "llm1-tech", (FAN,), "sample", "2013-03-01T21:00:00Z", "v1.1.0", {"version": "v1.0.0", "kind": "ridge"}
)
ALIVE = {"database": "ok", "worker": {"status": "alive", "version": "v1.1.0", "age_s": 4.0}}
VECTORS = Vectors(
    symbols=("AAPL", "MSFT"),
    dimensions=(Dimension("vix", "sentimentrader", "x = log VIX"), Dimension("news_count_z", "news", "z of a count")),
    values=((-0.31, None), (0.0, None)),
    schema="senvec-72/1",
    source="sample",
    as_of="2013-03-01T21:00:00Z",
)
ROW = {
    "id": 7, "service_name": "fincoll", "components": ["fincoll"], "version": "v1.2.0", "action": "deploy",
    "status": "success", "started_at": NOW - timedelta(minutes=2), "completed_at": NOW, "requested_by": "ada",
    "heartbeat_at": None, "logs": "switch fincoll@stable\nit never became ready",
}  # fmt: skip


def view(**changes: Any) -> View:
    seen = Probe("http://127.0.0.1:1", "healthy", "v1.1.0", 12)
    values: dict[str, Any] = {
        "environment": "dev",
        "inventory": "local",
        "version": "v1.1.0",
        "observed": Observed(seen, dict.fromkeys(MICROSERVICES, seen), [], NOW),
        "outlook": OUTLOOK,
        "vectors": VECTORS,
        "history": History([], "18.4"),
        "pulse": ALIVE,
        "at": NOW,
    }
    return View(**{**values, **changes})


def points(svg: str, kind: str) -> list[list[tuple[float, float]]]:
    """The corners of every shape of a class."""
    found = re.findall(rf'class="{kind}" points="([^"]+)"', svg)
    return [[tuple(map(float, pair.split(","))) for pair in shape.split()] for shape in found]  # type: ignore[misc]


def test_the_fan_opens_one_session_after_the_last_close_and_its_bands_nest() -> None:
    svg = drawing.svg(FAN)
    closes, (outer, inner), median = points(svg, "closes")[0], points(svg, "band"), points(svg, "median")[0]
    step = (closes[-1][0] - closes[0][0]) / (len(closes) - 1)
    assert outer[0][0] == pytest.approx(closes[-1][0] + step, abs=0.11)
    assert outer[3][0] == pytest.approx(closes[-1][0] + 11 * step, abs=0.2)
    for h in (1, 2, 3):
        top, upper, middle, lower, bottom = (shape[i][1] for shape, i in
            ((outer, h), (inner, h), (median, h + 1), (inner, -1 - h), (outer, -1 - h)))  # fmt: skip
        assert top < upper < middle < lower < bottom


def test_predicted_prices_are_the_last_close_times_e_to_the_log_return() -> None:
    assert drawing.prices(FAN)[1][4] == pytest.approx(102.0 * math.exp(0.05))


@pytest.mark.parametrize(("low", "high"), [(26.1, 29.7), (390.0, 560.0), (0.011, 0.013), (99.0, 101.0), (5, 50_000)])
def test_prices_are_marked_at_a_few_round_values_inside_the_drawing(low: float, high: float) -> None:
    marks = drawing.ticks(low, high)
    assert 3 <= len(marks) <= 7
    assert all(low - 1e-9 <= mark <= high + 1e-9 for mark in marks)


def test_flat_prices_and_a_single_one_can_be_drawn() -> None:
    assert "polyline" in drawing.svg(Fan("X", closes=((date(2013, 1, 1), 5.0),) * 3, refused="no model"))
    assert "polyline" in drawing.svg(Fan("X", closes=((date(2013, 1, 1), 5.0),), refused="no model"))
    assert drawing.svg(Fan("X", refused="unknown")) == ""


def test_an_untrusted_model_and_a_degraded_answer_are_marked_as_such() -> None:
    model = {"version": "v1.0.0", "kind": "ridge", "bootstrap": True, "trusted": False}
    shown = render.predictions(view(outlook=Outlook("llm1-tech", (FAN,), "sample", "", "v1", model, degraded=True)))
    assert "untrusted bootstrap model" in shown
    assert "degraded: sentiment incomplete" in shown
    trusted = render.predictions(view(outlook=Outlook("llm1-tech", (FAN,), "live", "", "v1", {"trusted": True})))
    assert "untrusted" not in trusted
    assert "degraded" not in trusted


def test_a_samples_true_date_is_shown() -> None:
    assert "sample data as of 1 Mar 2013, 21:00 UTC" in render.predictions(view())


def run(**changes: Any) -> str:
    return history.deployments(view(history=History([{**ROW, **changes}], "18.4")))


def test_what_is_not_there_is_said_with_what_to_do() -> None:
    away = {
        "outlook": FinCollUnavailable("no connection at http://x"),
        "vectors": SenVecUnavailable("no connection at http://y"),
        "history": DatabaseGone("database z: refused"),
    }
    parts = (render.predictions, heat.sentiment, history.deployments)
    told = ("FinColl unavailable", "SenVec unavailable", "History unavailable")
    for draw, what, component in zip(parts, told, ("fincoll", "aggregator", "postgresql"), strict=True):
        here = draw(view(**away, prefix="/tmp/second"))  # noqa: S108 (named, not made)
        assert what in here
        assert f"make logs COMPONENT={component} PREFIX=/tmp/second" in here
        assert "make " not in draw(view(**away))  # of other hosts this checkout's make knows nothing
    assert "No deployments yet" in history.deployments(view())


def test_an_empty_watchlist_names_its_variable() -> None:
    bare = view(outlook=Outlook("llm1-tech", ()), vectors=Vectors((), (), ()))
    assert "pim_watchlist" in render.predictions(bare)
    assert "pim_watchlist" in heat.sentiment(bare)


def test_the_prefix_is_told_of_this_machines_deployments_alone() -> None:
    state_dir = Path("/tmp/second/var/lib/caelum/pim")  # noqa: S108
    assert prefix("local", state_dir) == "/tmp/second"  # noqa: S108
    assert prefix("production", state_dir) == ""
    assert prefix("local", None) == ""


def test_the_masthead_tells_the_worst_state() -> None:
    gone = view(pulse={**ALIVE, "database": "database x: refused"})
    assert "degraded" in render.header(gone)
    assert "degraded" not in render.header(view())


def test_a_halt_is_told_with_who_since_when_why_and_how_to_resume() -> None:
    halt = {"by": "ada", "at": "2026-03-02T09:00:00Z", "reason": "<b>quotes</b> look wrong"}
    seen = Probe("http://127.0.0.1:1", "degraded", "v1.1.0", 12, facts={"halted": halt})
    shown = view(
        observed=Observed(seen, view().observed.senvec, [], NOW), outlook=FinCollUnavailable("halted", halted=True)
    )
    banner = render.header(shown)
    assert re.search(r"ada, since 2 Mar 2026, 09:00 UTC: &lt;b&gt;quotes&lt;/b&gt; look wrong.*resume\.yml", banner)
    assert 'class="state bad">halted' in banner
    assert 'class="state bad">halted' in topology.topology(shown)
    assert "unavailable" not in render.predictions(shown)
    assert "halted" not in render.header(view())


def test_every_place_of_the_topology_tells_version_and_state_in_words() -> None:
    nodes = re.findall(r'<li class="node.*?</li>', topology.topology(view()))
    assert len(nodes) == 10
    for node in nodes:
        assert re.search(r'class="state \w+">\w', node)
    down = Probe("http://127.0.0.1:1", "down", detail="no connection")
    shown = topology.topology(view(observed=Observed(down, {**view().observed.senvec, "news": down}, [], NOW)))
    assert len(re.findall(r'class="state bad">down', shown)) == 2
    assert '<i class="wire along bad"' in shown


def test_other_slots_of_fincoll_are_shown_beside_the_stable_one() -> None:
    seen = view().observed
    candidate = Probe("http://127.0.0.1:2", "healthy", "v1.2.0-beta", 9)
    shown = topology.topology(view(observed=Observed(seen.fincoll, seen.senvec, [], NOW, {"candidate": candidate})))
    assert re.search(r"<dt>candidate</dt><dd>v1\.2\.0-beta ", shown)


def test_a_service_without_a_port_has_the_version_of_its_last_success() -> None:
    rows = [
        {**ROW, "service_name": "finvec", "version": "v1.3.0", "status": "failed"},
        {**ROW, "service_name": "finvec", "version": "v1.2.0", "action": "rollback"},
    ]
    shown = topology.topology(view(history=History(rows, "18.4")))
    assert "v1.2.0" in shown
    assert "v1.3.0" not in shown


def test_outcomes_read_as_what_happened() -> None:
    assert 'class="state good">success' in run()
    assert 'class="state bad">aborted' in run(status="aborted")
    assert 'class="state fair">rolled back' in run(status="rolled_back")
    assert "2 min 00 s" in run()
    assert set(TONES) >= {"queued", "in_progress", "success", "failed", "aborted", "rolled_back", "inconclusive"}


def test_a_failure_shows_the_last_line_of_its_log_and_a_success_only_on_demand() -> None:
    assert '<p class="note">it never became ready</p>' in run(status="failed")
    assert "note" not in run()
    assert "<pre>switch fincoll@stable\nit never became ready</pre>" in run()
    assert "<details" not in run(logs=None)


def test_an_open_deployment_tells_its_age_and_who_holds_it() -> None:
    shown = run(status="in_progress", completed_at=None, heartbeat_at=NOW - timedelta(seconds=4), logs=None)
    assert "2 min 00 s so far" in shown
    assert "held by ada, last sign of life 4 s ago" in shown


def test_what_was_deployed_as_one_is_one_line_with_its_components() -> None:
    assert "news, social" in run(service_name="senvec", components=["news", "social"])


def test_a_masked_value_is_not_shown_as_a_neutral_one() -> None:
    shown = heat.sentiment(view())
    cells = re.findall(r'<td class="(\w+)"><span><i>(\w+) </i>(.*?)</span></td>', shown)
    assert cells == [
        ("n2", "AAPL", "−0.31"),
        ("z", "MSFT", "+0.00"),
        ("no", "AAPL", "no data"),
        ("no", "MSFT", "no data"),
    ]
    assert "1 of 2 dimensions with data" in shown
    assert re.search(r"masked: no value", shown)


def test_every_cell_can_be_told_by_its_names() -> None:
    shown = heat.sentiment(view())
    assert re.findall(r'<th scope="col"><span>(\w+)', shown) == ["AAPL", "MSFT"] * 2
    assert re.findall(r'<th scope="row" title="([^"]+)">([^<]+)', shown) == [
        ("0: vix = x = log VIX", "vix"),
        ("1: news_count_z = z of a count", "count z"),
    ]


@pytest.mark.parametrize(
    ("value", "expected"), [(-1, "n5"), (-0.11, "n1"), (-0.09, "z"), (0, "z"), (0.5, "p2"), (0.95, "p5"), (7, "p5")]
)
def test_shades_are_even_and_neutral_about_zero(value: float, expected: str) -> None:
    assert heat.shade(value) == expected


def test_vectors_of_another_schema_than_its_names_are_refused() -> None:
    schema = {"name": "senvec-72/1", "hash": "a", "dimensions": [{"name": "vix", "group": "g", "formula": "f"}]}
    answer = {
        "schema": "senvec-72/1", "schema_hash": "a", "symbols": ["AAPL"], "source": "sample", "version": "v1",
        "as_of": "2013-03-01T21:00:00Z", "degraded": False, "values": [[[0.5]]], "mask": [[[0]]],
    }  # fmt: skip
    assert read(answer, schema).values == ((None,),)
    changes: list[dict[str, Any]] = [{"schema_hash": "b"}, {"values": [[[0, 0]]], "mask": [[[1, 1]]]}, {"symbols": []}]
    for change in changes:
        with pytest.raises(ValueError, match=r"schema|fit"):
            read({**answer, **change}, schema)


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_has_the_contrast_of_wcag_aa_in_light_and_dark(scheme: int) -> None:
    style = (files("pim.dashboard") / "style.css").read_text()
    palette = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]))
    pairs = [
        (word, ground)
        for word in ("ink", "muted", "good", "fair", "bad", "busy")
        for ground in ("card", "ground", "hair")
    ]
    for word, ground in [
        *pairs,
        ("fair", "fair-ground"),
        ("bad", "bad-ground"),
        ("ink", "bad-ground"),
        ("ground", "ink"),
    ]:
        darker, lighter = sorted(luminance(palette[name]) for name in (word, ground))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, f"{word} on {ground}"


def test_a_refused_symbol_keeps_its_place_and_shows_the_reason() -> None:
    shown = render.predictions(view(outlook=Outlook("llm1-tech", (FAN, Fan("NFLX", refused="no bars of 'NFLX'")))))
    assert "No prediction: no bars of &#x27;NFLX&#x27;" in shown


def test_nothing_from_outside_becomes_markup() -> None:
    evil = "<script>alert(1)</script>"
    row = {
        "status": evil, "service_name": evil, "components": [evil], "version": evil, "action": evil,
        "requested_by": evil, "started_at": NOW - timedelta(minutes=2), "completed_at": NOW, "heartbeat_at": NOW,
        "logs": evil, "id": 1,
    }  # fmt: skip
    held = {**row, "status": "in_progress", "completed_at": None}
    facts = {"halted": {"by": evil, "at": evil, "reason": evil}}
    seen = Probe(evil, "degraded", evil, 1, detail=evil, facts=facts)
    observed = Observed(seen, dict.fromkeys(MICROSERVICES, seen), [], NOW, {evil: seen})
    felt = Vectors((evil,), (Dimension(evil, evil, evil),), ((None,),), evil, evil, evil)
    dead = {"status": evil, "version": evil, "age_s": 1.0}
    shown = view(
        environment=evil, inventory=evil, version=evil, history=History([row, held], evil), observed=observed,
        outlook=Outlook(evil, (Fan(evil, refused=evil),), evil, evil, evil, {"version": evil, "kind": evil}),
        vectors=felt, pulse={"database": evil, "worker": dead, "reaper": dead}, prefix=evil,
    )  # fmt: skip
    away = view(
        outlook=FinCollUnavailable(evil), vectors=SenVecUnavailable(evil), history=DatabaseGone(evil), prefix=evil
    )
    for draw in page.PARTS.values():
        assert "<script" not in draw(shown)
        assert "<script" not in draw(away)


def test_numbers_and_times_read_as_people_write_them() -> None:
    assert percent(-0.0123) == "−1.2 %"
    assert moment("2013-03-01T21:00:00Z") == "1 Mar 2013, 21:00 UTC"
    assert clock("2026-03-02T09:00:00Z", NOW) == "09:00:00 UTC"
    assert clock("2013-03-01T21:00:00Z", NOW) == "1 Mar 2013, 21:00 UTC"
    assert [lasted(timedelta(seconds=s)) for s in (40, 65, 7260)] == ["40 s", "1 min 05 s", "2 h 01 min"]
