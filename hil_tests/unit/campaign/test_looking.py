"""Threads that only look and wait again are looked for by others: nothing must show that, except on a stop watch."""

from collections.abc import Callable
from typing import Final

import pytest

from bridge import clock
from bridge.clock import Condition
from bridge.lab.campaign.task import Process
from bridge.lab.campaign.world import SimulatedWorld

SEEDS: Final = range(8)
CONSUMERS: Final = 3
ITEMS: Final = 6

Wait = Callable[[Condition, Callable[[], bool], float], bool]


def by_itself(changed: Condition, predicate: Callable[[], bool], timeout_s: float) -> bool:
    """As :meth:`threading.Condition.wait_for`, in the waiting thread."""
    deadline_ns = clock.monotonic_ns() + round(timeout_s * 1e9)
    result = predicate()
    while not result:
        left_s = (deadline_ns - clock.monotonic_ns()) / 1e9
        if left_s <= 0:
            break
        changed.wait(left_s)
        result = predicate()
    return result


def looked_for(changed: Condition, predicate: Callable[[], bool], timeout_s: float) -> bool:
    return changed.wait_for(predicate, timeout_s)


def play(seed: int, wait: Wait, kill_at_step: int | None = None) -> tuple[list[str], int, float]:
    """Consumers that are woken for each other's items; what happened, in how many steps, and how long it took."""
    log = list[str]()
    with SimulatedWorld(seed) as world:
        changed, stock = clock.condition(), list[int]()

        def consume(own: int) -> None:
            for _ in range(ITEMS // CONSUMERS + 1):
                with changed:
                    found = wait(changed, lambda: bool(stock) and stock[0] % CONSUMERS == own, 2.5)
                    log.append(
                        f"{world.elapsed_s} {own} {stock.pop(0) if found else 'nothing'} {clock.uniform()}"
                    )
                    changed.notify_all()

        def produce() -> None:
            for number in range(ITEMS):
                clock.event().wait(0.7)
                with changed:
                    stock.append(number)
                    changed.notify_all()

        consumers = world.process("consumers", kill_at_step)
        for own in range(CONSUMERS):
            world.spawn(consumers, f"consumer {own}", lambda own=own: consume(own))  # type: ignore[misc]
        producer = world.process("producer")
        world.spawn(producer, "producer", produce)
        end(world, consumers, producer)
        assert world.failures == []
        return log, consumers.steps, world.elapsed_s


def end(world: SimulatedWorld, *processes: Process) -> None:
    for process in processes:
        world.wait_end(process)


@pytest.mark.parametrize("seed", SEEDS)
def test_given_threads_that_are_woken_in_vain_then_all_is_as_if_each_had_looked_itself(seed: int) -> None:
    assert play(seed, looked_for) == play(seed, by_itself)


def test_given_a_process_that_is_killed_at_any_step_then_it_dies_where_it_would_have_died() -> None:
    _, steps, _ = play(1, by_itself)
    for step in range(1, steps + 1):
        assert play(1, looked_for, step) == play(1, by_itself, step), step


def test_given_many_short_lives_then_a_few_threads_carry_them() -> None:
    carriers = set[int | None]()
    with SimulatedWorld() as world:
        for _ in range(20):
            process = world.process("short")
            task = world.spawn(process, "short", lambda: clock.event().wait(1.0))
            world.wait_end(process)
            carriers.add(task.thread_id)
        assert world.elapsed_s == 20.0
    assert len(carriers) == 1
