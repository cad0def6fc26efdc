"""The dashboard in a real browser, in front of a real FinColl."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from support.checkpoints import write_checkpoint
from support.pim import MICROSERVICES, web
from support.postgres import Database, database, server
from support.processes import Service, free_port, running
from support.senvec import senvec

pytest_plugins = ["support.postgres"]
pytestmark = [pytest.mark.services, pytest.mark.package("chromium")]

SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=SWITCHES)
        yield chromium
        chromium.close()


@contextmanager
def opened(browser: Browser, pim: Service, width: int = 1280, scheme: str = "light") -> Iterator[Page]:
    """The page; at the end, that it asked nobody but pim-web and complained of nothing."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    hosts: set[str] = set()
    complaints: list[str] = []
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(pim.url)
    yield page
    page.close()
    assert hosts == {urlsplit(pim.url).netloc}
    assert complaints == []


def test_it_says_what_is_missing_when_nothing_runs(
    browser: Browser, migrated_database: Database, tmp_path: Path
) -> None:
    with web(migrated_database, tmp_path) as pim, opened(browser, pim) as page:
        expect(page.locator(".masthead .state")).to_have_text("down")
        expect(page.locator(".predictions")).to_contain_text("FinColl unavailable")
        expect(page.locator(".sentiment")).to_contain_text("SenVec unavailable")
        expect(page.locator(".topology .node.bad")).to_have_count(6)
        expect(page.locator(".deployments")).to_contain_text("No deployments yet")
        with migrated_database.connect() as sql:
            sql.execute(
                "INSERT INTO deployment_history (service_name, component, version, action, status, requested_by)"
                " VALUES ('fincoll', 'fincoll', 'v1.1.0', 'deploy', 'failed', '<img src=x onerror=alert(1)>')"
            )
        # It appears without a reload, and as text.
        expect(page.locator(".runs li")).to_contain_text("failed", timeout=10_000)
        expect(page.locator(".runs li")).to_contain_text("<img src=x")


def test_predictions_of_a_real_fincoll_are_drawn_with_their_reservations(
    browser: Browser, migrated_database: Database, tmp_path: Path
) -> None:
    champion = write_checkpoint(tmp_path / "checkpoints")
    port = free_port()
    fincoll_env = {
        "FINCOLL_PORT": str(port),
        "MODEL_REGISTRY": json.dumps({"llm1-tech": {"champion": str(champion)}}),
    }
    watched = {"FINCOLL_URLS": json.dumps({"stable": f"http://127.0.0.1:{port}"}), "WATCHLIST": '["AAPL", "NFLX"]'}
    with running("fincoll.server", fincoll_env, port), web(migrated_database, tmp_path, **watched) as pim:
        with opened(browser, pim) as page:
            apple, unknown = page.locator("figure").all()
            expect(apple.locator("polyline.median")).to_have_count(1)
            expect(apple.locator("polygon.band")).to_have_count(2)
            expect(unknown).to_contain_text("No prediction:")
            badges = page.locator(".badges")
            expect(badges).to_contain_text("untrusted bootstrap model")
            expect(badges).to_contain_text("degraded: sentiment incomplete")
            expect(badges).to_contain_text("sample data as of 1 Mar 2013, 21:00 UTC")
            strip = apple.locator(".strip").nth(20)
            strip.locator("rect").hover()
            expect(strip.locator("text")).to_have_css("opacity", "1")
        with opened(browser, pim, width=360) as page:
            expect(page.locator("figure")).to_have_count(2)
            assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_the_heat_map_of_a_real_senvec_hatches_what_is_masked(
    browser: Browser, migrated_database: Database, tmp_path: Path
) -> None:
    with senvec() as real:
        watched = {
            "SENVEC_URL": real.url,
            "SENVEC_SERVICES": json.dumps({name: real.services[name].url for name in MICROSERVICES}),
        }
        with web(migrated_database, tmp_path, **watched) as pim, opened(browser, pim) as page:
            expect(page.locator(".heat tbody tr")).to_have_count(72)
            expect(page.locator(".heat tbody td")).to_have_count(72 * 5)
            gauges, alphavantage, _, news = page.locator(".heat table").all()
            expect(alphavantage).to_contain_text("no data")
            expect(alphavantage.locator("td.no")).to_have_count(18 * 5)
            # A value has its names for those who cannot see where it stands, and shows itself under the pointer.
            breadth = gauges.get_by_role("row", name="above 50d")
            assert float(breadth.locator("td span").first.inner_text().split()[1].replace("−", "-")) != 0
            breadth.locator("td").first.hover()
            expect(breadth.locator("td span").first).to_have_css("opacity", "1")
            expect(page.locator(".aggregator .state")).to_have_text("healthy")
            real.services["news"].kill()
            expect(news).to_contain_text("no data", timeout=30_000)
            expect(page.locator(".sources .node.bad")).to_contain_text("news", timeout=30_000)
            assert page.evaluate("document.documentElement.scrollWidth") == 1280


def test_a_log_that_was_opened_stays_open_while_the_page_goes_on(
    browser: Browser, migrated_database: Database, tmp_path: Path
) -> None:
    with migrated_database.connect() as sql:
        sql.execute(
            "INSERT INTO deployment_history (service_name, component, version, action, status, logs, started_at)"
            " SELECT 'senvec', c, 'v1.1.0', 'deploy', 'failed', 'first line' || chr(10) || 'the port is taken', now()"
            " FROM unnest(ARRAY['news', 'social']) AS c"
        )
        with web(migrated_database, tmp_path) as pim, opened(browser, pim) as page:
            done = page.locator(".runs li", has_text="senvec")
            expect(done).to_have_count(1)
            expect(done).to_contain_text("news, social")
            expect(done.locator("pre")).to_be_hidden()
            done.locator("summary").click()
            expect(done.locator("pre")).to_contain_text("first line")
            sql.execute(
                "INSERT INTO deployment_history"
                " (service_name, component, version, action, status, requested_by, heartbeat_at)"
                " VALUES ('fincoll', 'fincoll', 'v1.2.0', 'deploy', 'in_progress', 'ada', now())"
            )
            expect(page.locator(".runs li").first).to_contain_text("held by ada", timeout=15_000)
            expect(done.locator("pre")).to_be_visible()
            expect(done.locator("summary")).to_be_focused()
            # Its age goes on, so the part is drawn anew; what the reader closes stays closed as well.
            done.locator("summary").click()
            before = page.locator(".runs li").first.inner_text()
            expect(page.locator(".runs li").first).not_to_have_text(before, timeout=15_000)
            expect(done.locator("pre")).to_be_hidden()


def test_a_halted_fincoll_is_told_on_top_of_the_page_until_it_is_resumed(
    browser: Browser, migrated_database: Database, tmp_path: Path
) -> None:
    port = free_port()
    flag = tmp_path / "state" / "halted.json"
    flag.parent.mkdir()
    flag.write_text(json.dumps({"by": "ada", "at": "2026-03-02T09:00:00Z", "reason": "quotes look wrong"}))
    fincoll_env = {
        "FINCOLL_PORT": str(port),
        "CAELUM_STATE_DIR": str(flag.parent),
        "MODEL_REGISTRY": json.dumps({"llm1-tech": {"champion": str(write_checkpoint(tmp_path / "checkpoints"))}}),
    }
    watched = {"FINCOLL_URLS": json.dumps({"stable": f"http://127.0.0.1:{port}"}), "WATCHLIST": '["AAPL"]'}
    with (
        running("fincoll.server", fincoll_env, port),
        web(migrated_database, tmp_path, **watched) as pim,
        opened(browser, pim) as page,
    ):
        expect(page.get_by_role("alert")).to_contain_text("By ada, since 2 Mar 2026, 09:00 UTC: quotes look wrong")
        expect(page.locator(".masthead .state")).to_have_text("halted")
        expect(page.locator(".predictions")).to_contain_text("Halted")
        flag.unlink()
        expect(page.get_by_role("alert")).to_have_count(0, timeout=15_000)
        expect(page.locator("figure .median")).to_have_count(1, timeout=15_000)


def test_light_and_dark_follow_the_reader(browser: Browser, migrated_database: Database, tmp_path: Path) -> None:
    with web(migrated_database, tmp_path) as pim:
        grounds = []
        for scheme in ("light", "dark"):
            with opened(browser, pim, scheme=scheme) as page:
                expect(page.locator(".masthead h1")).to_be_visible()
                grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(246, 246, 242)", "rgb(16, 19, 21)"]


def test_a_lost_database_shows_on_an_open_page_and_goes_away_again(browser: Browser, tmp_path: Path) -> None:
    with server() as postgres, database(postgres) as db:
        db.migrate("upgrade")
        with web(db, tmp_path) as pim, opened(browser, pim) as page:
            expect(page.locator(".deployments")).to_contain_text("No deployments yet")
            postgres.stop()
            expect(page.locator(".deployments")).to_contain_text("History unavailable", timeout=15_000)
            expect(page.locator(".node.database")).to_contain_text("Connection refused")
            postgres.start()
            expect(page.locator(".deployments")).to_contain_text("No deployments yet", timeout=15_000)
            assert "Traceback" not in pim.log()


def test_it_stops_within_three_seconds_while_a_page_is_open(
    browser: Browser, migrated_database: Database, tmp_path: Path
) -> None:
    with web(migrated_database, tmp_path) as pim:
        page = browser.new_page()
        page.goto(pim.url)
        before = page.locator(".overall p").inner_text()
        expect(page.locator(".overall p")).not_to_have_text(before, timeout=10_000)
        begin = time.monotonic()
        assert pim.stop() == 0
        assert time.monotonic() - begin < 3
        assert "Traceback" not in pim.log()
        page.close()
