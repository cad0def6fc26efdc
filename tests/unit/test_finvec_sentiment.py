"""Sentiment is asked from SenVec whole, or not used at all; another schema stops the training."""

from datetime import date, timedelta

import pytest

from caelum_common import vector
from finvec import sentiment
from finvec.errors import OtherSchema
from support.processes import free_port
from support.senvec_stub import StubSenVec

DAYS = [date(2000, 1, 3) + timedelta(days=at) for at in range(12)]


def _fetch(url, days=DAYS):
    return sentiment.fetch(url, {"AAPL": days, "FB": days[:4]}, lambda *_: None)


def test_every_symbol_gets_a_vector_for_each_of_its_days():
    with StubSenVec() as senvec:
        known = _fetch(senvec.url)
    assert {symbol: array.shape for symbol, array in known.values.items()} == {
        "AAPL": (12, vector.WIDTH),
        "FB": (4, vector.WIDTH),
    }
    assert (known.values["AAPL"] == 0.5).all()
    assert (known.mask["FB"] == 1).all()
    assert known.note == f"SenVec at {senvec.url}, 100% of the dimensions known"


def test_a_long_history_is_asked_in_pieces_that_senvec_accepts(monkeypatch):
    monkeypatch.setattr(sentiment, "CELLS", 5)
    with StubSenVec() as senvec:
        known = _fetch(senvec.url)
        asked = [post["dates"] for post in senvec.posts if post["symbols"] == ["AAPL"]]
    assert [len(part) for part in asked] == [5, 5, 2]
    assert [day for part in asked for day in part] == [day.isoformat() for day in DAYS]
    assert known.values["AAPL"].shape == (12, vector.WIDTH)


def test_a_proxy_for_the_way_out_is_not_asked_for_a_neighbour(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with StubSenVec() as senvec:
        assert set(_fetch(senvec.url).values) == {"AAPL", "FB"}


@pytest.mark.parametrize("mode", ["error", "degraded", "garbage", "wrong shape"])
def test_an_answer_that_is_not_whole_means_no_sentiment_and_says_so(mode):
    with StubSenVec() as senvec:
        senvec.mode = mode
        known = _fetch(senvec.url)
    assert known.values == {}
    assert known.note.startswith(f"none: SenVec at {senvec.url} did not answer")
    assert "\n" not in known.note


def test_a_senvec_that_is_not_there_means_no_sentiment():
    known = _fetch(f"http://127.0.0.1:{free_port()}")
    assert known.values == {}
    assert "ConnectError" in known.note


def test_another_schema_stops_the_training():
    with StubSenVec() as senvec:
        senvec.mode = "other schema"
        with pytest.raises(OtherSchema, match="speaks sentiment schema ffffffffffff…"):
            _fetch(senvec.url)
