"""Simulated time: it stands still while anybody works, jumps when all wait, and is the same for the same seed."""

import threading
import time

import pytest

from bridge import clock
from bridge.lab.campaign.scheduler import StuckError
from bridge.lab.campaign.world import SimulatedWorld


def test_a_wait_takes_simulated_time_only() -> None:
    began = time.monotonic()
    with SimulatedWorld() as world:
        assert not clock.event().wait(3600.0)
        assert world.elapsed_s == 3600.0
    assert time.monotonic() - began < 1.0


def test_the_shortest_wait_moves_the_clock() -> None:
    with SimulatedWorld():
        before_ns = clock.monotonic_ns()
        clock.event().wait(1e-13)
        assert clock.monotonic_ns() == before_ns + 1


def test_outside_of_a_world_all_is_real() -> None:
    with SimulatedWorld():
        pass
    assert isinstance(clock.event(), threading.Event)
    assert abs(clock.monotonic() - time.monotonic()) < 1.0


def test_threads_meet_on_a_condition_at_the_earliest_deadline() -> None:
    with SimulatedWorld() as world:
        changed, items = clock.condition(), list[str]()

        def produce() -> None:
            for number in range(3):
                clock.event().wait(1.5)
                with changed:
                    items.append(f"item {number} at {world.elapsed_s}")
                    changed.notify_all()

        producer = clock.thread(produce, "producer")
        producer.start()
        with changed:
            assert changed.wait_for(lambda: len(items) == 2, 10.0)
            assert world.elapsed_s == 3.0
            assert not changed.wait(1.0)
        producer.join()
        assert items == ["item 0 at 1.5", "item 1 at 3.0", "item 2 at 4.5"]


def trace(seed: int) -> list[str]:
    """What several threads that are all ready at once do, in the order in which they do it."""
    with SimulatedWorld(seed) as world:
        log = list[str]()
        lock = clock.lock()

        def work(name: str) -> None:
            for step in range(5):
                with lock:
                    log.append(f"{name}{step} {world.uniform():.6f}")
                clock.event().wait(1.0)

        threads = [clock.thread(work, name, (name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return log


def test_the_order_is_the_seed_s() -> None:
    assert trace(1) == trace(1)
    assert [line[:2] for line in trace(1)] != [line[:2] for line in trace(2)]


def test_a_lock_that_is_held_over_a_wait_keeps_others_out() -> None:
    with SimulatedWorld() as world:
        lock, entered = clock.rlock(), list[float]()

        def other() -> None:
            with lock:
                entered.append(world.elapsed_s)

        thread = clock.thread(other, "other")
        with lock, lock:
            thread.start()
            clock.event().wait(2.0)
            assert not entered
        thread.join()
        assert entered == [2.0]


def test_a_killed_process_has_no_effect_any_more() -> None:
    with SimulatedWorld() as world:
        shared, effects = clock.condition(), list[str]()

        def victim() -> None:
            try:
                with shared:
                    effects.append("before")
                clock.event().wait(10.0)
                effects.append("never")
            finally:
                with shared:
                    effects.append("no last words")

        process = world.process("victim")
        world.spawn(process, "victim", victim)
        clock.event().wait(5.0)
        world.kill(process)
        assert effects == ["before"]
        assert world.elapsed_s == 5.0
        with shared:
            pass
        assert world.failures == []


@pytest.mark.parametrize("step", range(1, 12))
def test_a_process_dies_at_the_step_that_was_chosen(step: int) -> None:
    with SimulatedWorld() as world:
        shared, effects = clock.lock(), list[int]()

        def victim() -> None:
            for number in range(100):
                with shared:
                    effects.append(number)

        process = world.process("victim", kill_at_step=step)
        world.spawn(process, "victim", victim)
        world.wait_end(process)
        assert effects == list(range(step - 1))


def test_a_world_in_which_nothing_will_come_says_so() -> None:
    with SimulatedWorld() as world:
        process = world.process("waiting")
        world.spawn(process, "waiting", lambda: clock.event().wait())
        with pytest.raises(StuckError, match="nothing will come"):
            world.wait_end(process)


def test_time_can_be_up() -> None:
    def for_ever() -> None:
        while True:
            clock.event().wait(60.0)

    with SimulatedWorld(limit_s=3600) as world:
        process = world.process("for ever")
        world.spawn(process, "for ever", for_ever)
        with pytest.raises(StuckError, match="time is up"):
            world.wait_end(process)


def test_what_a_thread_dies_of_is_kept() -> None:
    with SimulatedWorld() as world:
        thread = clock.thread(lambda: 1 / 0, "broken")
        thread.start()
        thread.join()
        [(name, error)] = world.failures
        assert name == "broken"
        assert isinstance(error, ZeroDivisionError)
