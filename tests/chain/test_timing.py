"""Wall time by piece of work, with a clock that stands still until it is told."""

from types import SimpleNamespace

import pytest

from mlgen.chain.timing import Timer


class Clock:
    """Says the time that a test makes it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("mlgen.chain.timing.time", SimpleNamespace(perf_counter=made))
    return made


def test_what_comes_several_times_is_summed_up(clock):
    timer = Timer()
    for seconds in (1.0, 2.5):
        with timer("work"):
            clock.now += seconds
        # Between pieces of work nothing is counted.
        clock.now += 100
    assert timer.seconds == {"work": 3.5}


def test_work_within_other_work_is_not_counted_twice(clock):
    timer = Timer()
    with timer("outer"):
        clock.now += 1
        with timer("inner"):
            clock.now += 2
            with timer("innermost"):
                clock.now += 4
            clock.now += 8
        clock.now += 16
        with timer("inner"):
            clock.now += 32
    assert timer.seconds == {"outer": 17.0, "inner": 42.0, "innermost": 4.0}
    assert sum(timer.seconds.values()) == clock.now - 1000


def test_work_within_work_of_the_same_name_is_counted_once(clock):
    timer = Timer()
    with timer("work"), timer("work"):
        clock.now += 3
    assert timer.seconds == {"work": 3.0}


def test_work_is_listed_in_the_order_in_which_it_begins_also_when_it_takes_no_time(clock):
    timer = Timer()
    with timer("outer"), timer("nothing"), timer("inner"):
        clock.now += 1
    assert list(timer.seconds.items()) == [("outer", 0.0), ("nothing", 0.0), ("inner", 1.0)]


def test_the_time_of_work_that_fails_is_counted_and_what_goes_on_is_the_work_around_it(clock):
    timer = Timer()

    def failing() -> None:
        with timer("inner"):
            clock.now += 1
            raise ValueError("no")

    with timer("outer"):
        with pytest.raises(ValueError, match="no"):
            failing()
        clock.now += 2
    clock.now += 4
    assert timer.seconds == {"outer": 2.0, "inner": 1.0}
