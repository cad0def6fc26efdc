"""A breaker that opens too late slows every caller; one that never closes keeps a healed service away."""

from caelum_common.breaker import Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(failures=2, reset_after_s=5.0, clock=clock)
    breaker.failure()
    breaker.failure()
    return breaker


def test_it_opens_at_the_limit_of_failures_in_a_row():
    breaker = Breaker(failures=2, clock=Clock())
    breaker.failure()
    breaker.success()
    breaker.failure()
    assert (breaker.state, breaker.allow()) == ("closed", True)
    breaker.failure()
    assert (breaker.state, breaker.allow()) == ("open", False)


def test_after_the_wait_one_trial_passes_and_no_second():
    clock = Clock()
    breaker = opened(clock)
    clock.now += 5.0
    assert breaker.state == "half-open"
    assert breaker.allow()
    assert not breaker.allow()


def test_the_trial_decides():
    clock = Clock()
    breaker = opened(clock)
    clock.now += 5.0
    assert breaker.allow()
    breaker.failure()
    assert not breaker.allow()
    clock.now += 5.0
    assert breaker.allow()
    breaker.success()
    assert breaker.state == "closed"
    assert breaker.allow()


def test_a_trial_that_never_reports_does_not_keep_it_open():
    clock = Clock()
    breaker = opened(clock)
    clock.now += 5.0
    assert breaker.allow()
    clock.now += 5.0
    assert breaker.allow()
