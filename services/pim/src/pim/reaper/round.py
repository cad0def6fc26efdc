"""`python -m pim.reaper.round`: takes back, once, what the watcher found. A service after the other, PIM last."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from caelum.database import configs, lease
from caelum.database.connection import Unreachable, transaction
from caelum.database.lease import Group
from caelum.errors import Refused
from caelum.instance.revisions import Revision
from caelum_common.start import starting
from pim.reaper.log import Log
from pim.reaper.settings import ReaperSettings, read
from pim.reaper.takeback import Host, Verdict, describe

if TYPE_CHECKING:
    from psycopg2 import extensions

LEASE_S = lease.DEFAULT_S
BEATS = 6  # in a lease
PAUSE_S = 1.0
OWN_SERVICE = "pim"

T = TypeVar("T")


def main() -> None:
    """Take back what every deployment of the inventory did on this host, where its lease is over."""
    with starting():
        settings = read()
    log = Log.of(settings)
    for group in waiting(settings):
        take_back(group, settings, log)


def waiting(settings: ReaperSettings) -> list[Group]:
    """The deployments whose lease is over. PIM is last: its restart ends the watcher that could begin this anew."""

    def ask(cursor: "extensions.cursor") -> list[Group]:
        return lease.expired(cursor, settings.inventory, None)

    return sorted(insist(settings.login, ask), key=lambda group: group.service == OWN_SERVICE)


def take_back(group: Group, settings: ReaperSettings, log: Log) -> None:
    """Seize the group, settle it on the host, and close its rows; what fails is told there and in the log."""
    host = Host(settings.prefix, settings.runtime, settings.address, settings.ready_timeout_s, settings.inventory)
    token = insist(settings.login, lambda cursor: lease.seize(cursor, group, LEASE_S))
    if token is None:
        return
    try:
        with beating(settings.login, token):
            verdict = host.settle(group, token)
    except Refused as refused:
        verdict = Verdict("failed", str(refused))
    except Exception as error:  # one bad deployment must not keep the others waiting
        verdict = Verdict("failed", f"taking it back failed: {type(error).__name__}: {error}; deploy it again")
    if restored := verdict.restored:
        verdict = _recorded(verdict, lambda: insist(settings.login, lambda cursor: write_records(cursor, restored)))
    rows = insist(settings.login, lambda cursor: lease.close_reaped(cursor, token, verdict.status, verdict.line))
    if rows == 0:
        log.info("somebody else closed the deployment meanwhile", outcome=verdict.line, **describe(host, group))
        return
    told = log.error if verdict.status == "failed" else log.info
    told("closed a lost deployment", status=verdict.status, outcome=verdict.line, **describe(host, group))


def _recorded(verdict: Verdict, write: Callable[[], None]) -> Verdict:
    try:
        write()
    except Refused as refused:
        return replace(verdict, line=f"{verdict.line}; its configuration is not in the database: {refused}")
    return verdict


def write_records(cursor: "extensions.cursor", revision: Revision) -> None:
    """The configuration and the token hashes that belong to the revision, where the lost run wrote its own."""
    wanted = [configs.Config(**revision.config)] if revision.config else []
    tokens = [configs.Token(one["name"], one["sha256"], tuple(one.get("scopes") or ())) for one in revision.tokens]
    configs.apply(cursor, configs.plan(wanted, tokens, *configs.observe(cursor, wanted, tokens)))


def insist(login: Mapping[str, Any], work: Callable[["extensions.cursor"], T]) -> T:
    """What `work` returns in a transaction of its own; while the database is away, it is tried again."""
    while True:
        try:
            with transaction(login) as cursor:
                return work(cursor)
        except Unreachable:
            time.sleep(PAUSE_S)


@contextmanager
def beating(login: Mapping[str, Any], token: int) -> Iterator[None]:
    """Hold the lease of `token` for the length of the block; a database that is away is no reason to leave it."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(LEASE_S / BEATS):
            try:
                with transaction(login) as cursor:
                    lease.beat(cursor, token)
            except Refused:
                continue

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    main()
