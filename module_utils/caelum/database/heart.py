"""The thread that prolongs the leases of a controller's open deployments, and gives them up when it is interrupted.

Everything that other threads call may be called from a signal handler: nothing waits for a lock that the interrupted
code could hold. The thread prints nothing, and forked children have no part in it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import Refused
from . import lease
from .connection import Login, place, transaction

BEATS_PER_LEASE = 6

# A worker that is forked in the middle of a beat would find the driver's locks taken for ever.
_TALKING = threading.Lock()
os.register_at_fork(before=_TALKING.acquire, after_in_parent=_TALKING.release, after_in_child=_TALKING.release)


@dataclass(frozen=True)
class Held:
    """A deployment that this controller holds open; `what` names it for a person: `fincoll v1.2.0`."""

    token: int
    ids: tuple[int, ...]
    lease_s: int
    what: str
    login: Login = field(repr=False)


@dataclass(frozen=True)
class Farewell:
    """What became of the leases at the end: rows that were released, or why they could not be."""

    released: int = 0
    failure: str = ""


@dataclass(frozen=True)
class _Order:
    """Release what is held, and whatever `controller` opened in the databases of `logins`, for `reason`."""

    logins: tuple[Login, ...]
    controller: Mapping[str, Any]
    reason: str


class Heart:
    """Beats for the deployments that it is told of, from a daemon thread that `begin` starts."""

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}
        self._lost: dict[int, str] = {}
        self._orders: queue.SimpleQueue[_Order | threading.Event | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Farewell] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def held(self) -> tuple[Held, ...]:
        """What is held open, in the order of opening."""
        return tuple(self._held.values())

    def begin(self) -> None:
        """Start the thread, where it does not run yet. Raises ImportError without psycopg2."""
        if self._thread is None:
            # Imported here, since an import in the thread could hold its lock while a worker is forked.
            import psycopg2  # noqa: F401

            self._thread = threading.Thread(target=self._live, name="caelum-lease", daemon=True)
            self._thread.start()

    def hold(self, held: Held) -> None:
        """Beat for `held` from now on."""
        self._held[held.token] = held
        self._orders.put(None)

    def forget(self, ids: Collection[int]) -> None:
        """Beat no longer for deployments whose rows are all among `ids`: they are closed."""
        for token in [held.token for held in self.held if set(held.ids) <= set(ids)]:
            self._held.pop(token, None)
            self._lost.pop(token, None)

    def beat_now(self, patience_s: float) -> None:
        """Beat at once, and wait `patience_s` at most for what the database says of it, which `lost` tells then."""
        if self._held:
            answered = threading.Event()
            self._orders.put(answered)
            answered.wait(patience_s)

    def lost(self) -> list[str]:
        """What became of deployments that are still held, though the database says that they are not ours."""
        return [self._lost[token] for token in list(self._held) if token in self._lost]

    def farewell(
        self, logins: Iterable[Login], controller: Mapping[str, Any], reason: str, patience_s: float
    ) -> Farewell:
        """Beat no more, and release what is held or was opened by `controller`; waits `patience_s` at most."""
        if self._thread is None:
            return Farewell()
        self._orders.put(_Order(tuple(logins), controller, reason))
        try:
            return self._answers.get(timeout=patience_s)
        except queue.Empty:
            return Farewell(failure=f"the database did not answer in {patience_s:g} s")

    def _live(self) -> None:
        # Left to the main thread, so that its own waits are cut short.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        while True:
            pause = min((held.lease_s for held in self.held), default=lease.DEFAULT_S) / BEATS_PER_LEASE
            try:
                order = self._orders.get(timeout=pause)
            except queue.Empty:
                order = None
            if isinstance(order, _Order):
                with _TALKING:
                    outcome = self._release(order)
                self._held.clear()
                self._answers.put(outcome)
            for held in self.held:
                with _TALKING:
                    self._beat(held)
            if isinstance(order, threading.Event):
                order.set()

    def _beat(self, held: Held) -> None:
        # The database may be away for a while: the next beat tries again, and the lease says how long that goes well.
        with contextlib.suppress(Refused, OSError), transaction(held.login) as cursor:
            if lease.beat(cursor, held.token) == 0:
                # A close by this run may be on its way here, hence `lost` is asked for only between tasks.
                self._lost[held.token] = lease.loss(cursor, held.ids)

    def _release(self, order: _Order) -> Farewell:
        released = 0
        try:
            for login in _distinct([*(held.login for held in self.held), *order.logins]):
                with transaction(login) as cursor:
                    here = [held.token for held in self.held if place(held.login) == place(login)]
                    released += sum(lease.release(cursor, token, order.reason) for token in here)
                    released += lease.release_of(cursor, order.controller, order.reason)
        except (Refused, OSError) as error:
            return Farewell(released, str(error))
        return Farewell(released)


def _distinct(logins: Iterable[Login]) -> list[Login]:
    return list({place(login): login for login in logins}.values())
