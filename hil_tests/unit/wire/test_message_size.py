"""Messages get shorter on a line that damages them, and longer again when it stops."""

import pytest

from bridge.wire.message_size import MessageSize
from bridge.wire.smp_frame import largest_message_bytes, line_count


def test_a_long_message_is_halved_at_each_loss_down_to_where_it_stops_helping() -> None:
    size = MessageSize(2044)
    sizes = []
    for _ in range(4):
        size.on_loss(0)
        sizes.append(size.size_bytes)
    assert sizes == [1022, 512, 512, 512]


def test_it_is_doubled_after_a_while_without_a_loss() -> None:
    size = MessageSize(2044)
    size.on_loss(10_000)
    size.on_loss(10_000)
    for acknowledged, expected in (
        (40_000, 512),
        (43_000, 1024),
        (70_000, 1024),
        (76_000, 2044),
        (200_000, 2044),
    ):
        size.on_progress(acknowledged)
        assert size.size_bytes == expected


def test_a_short_message_stays_as_it_is() -> None:
    size = MessageSize(380)
    size.on_loss(0)
    assert size.size_bytes == 380


@pytest.mark.parametrize(("lines", "line_bytes"), [(1, 127), (6, 127), (4, 512)])
def test_the_longest_message_for_so_many_lines_takes_exactly_them(lines: int, line_bytes: int) -> None:
    longest = largest_message_bytes(lines, line_bytes)
    assert line_count(longest, line_bytes) == lines
    assert line_count(longest + 1, line_bytes) == lines + 1
