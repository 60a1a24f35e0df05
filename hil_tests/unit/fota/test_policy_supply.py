"""Supply voltage for modem updates: waited for, told, and given up; time is injected."""

from collections.abc import Callable, Iterator

import pytest

from bridge.errors import BenchError
from bridge.fota import Notice, Outcome, Stage, UpdateEvent, Waiting
from bridge.fota.outcome import outcome_of
from bridge.fota.status_details import StatusDetails
from bridge.fota.supply import SupplyRules, await_supply

RULES = SupplyRules(minimum_mv=3_100, wait_s=600.0, poll_s=5.0)


class FakeClock:
    """Waits cost no time."""

    def __init__(self) -> None:
        self.time_s = 50.0

    def now_s(self) -> float:
        return self.time_s

    def wait(self, seconds: float) -> None:
        assert seconds > 0
        self.time_s += seconds


def voltages(*values: int | None) -> Callable[[], int | None]:
    """One after the other; the last one stays."""
    left = list(values)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def wait(
    read: Callable[[], int | None], rules: SupplyRules = RULES, clock: FakeClock | None = None
) -> Iterator[UpdateEvent]:
    return await_supply(read, rules, Stage.CHECK, clock or FakeClock())


@pytest.mark.parametrize("voltage", [3_100, 5_000])
def test_enough_is_enough(voltage: int) -> None:
    assert list(wait(voltages(voltage))) == []


def test_zero_asks_nobody() -> None:
    def nobody() -> int:
        raise AssertionError

    assert list(wait(nobody, SupplyRules(minimum_mv=0))) == []


def test_a_board_that_does_not_tell_is_remarked_on() -> None:
    (event,) = wait(voltages(None))
    assert isinstance(event, Notice)
    assert "does not tell its supply voltage" in event.text


def test_a_supply_that_rises_is_waited_for() -> None:
    clock = FakeClock()
    *waiting, last = wait(voltages(2_900, 2_950, 3_200), clock=clock)
    assert [type(event) for event in waiting] == [Waiting, Waiting]
    assert isinstance(last, Notice)
    assert "3200 mV now" in last.text
    assert clock.time_s == 60.0


def test_a_supply_that_stays_low_is_given_up_in_time_and_fails_the_job() -> None:
    clock, seen = FakeClock(), list[UpdateEvent]()
    with pytest.raises(BenchError) as caught:
        seen.extend(wait(voltages(3_099), clock=clock))
    assert clock.time_s == 50.0 + RULES.wait_s
    assert len(seen) == 120
    assert {(event.reason, event.stage) for event in seen if isinstance(event, Waiting)} == {
        ("battery-low", Stage.CHECK)
    }
    assert (caught.value.reason, caught.value.exit_code) == ("battery-low", 9)
    assert outcome_of(caught.value) is Outcome.FAILED
    assert "3099 mV" in caught.value.message


def test_no_patience_is_one_look() -> None:
    with pytest.raises(BenchError):
        list(wait(voltages(3_000, 5_000), SupplyRules(wait_s=0.0)))


def test_status_details_tell_what_is_waited_for_and_forget_it() -> None:
    details = StatusDetails()
    text = "the supply has 3000 mV"
    assert details.take(Waiting(Stage.CHECK, "battery-low", text))
    assert not details.take(Waiting(Stage.CHECK, "battery-low", text))
    assert details.take(Waiting(Stage.CHECK, "battery-low", text + "!"))
    assert details.to_dict() == {"stage": "check", "reason": "battery-low", "message": text + "!"}
    details.take(Notice(Stage.CHECK, "going on"))
    assert details.to_dict() == {"stage": "check"}
