"""The upload window against a device with few buffers and a line that loses frames, in simulated time."""

import heapq
import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.wire.upload_window import Outcome, Piece, UploadWindow, WindowLimits

SIZE = 20_000
CHUNK = 350
FRAME_S = 0.004
QUESTION_S = 0.0005
WORK_S = 0.011
ERASE_S = 0.087


class Device:
    """A server with a line in front: answers in order with the offset it wants; what finds no buffer is lost."""

    def __init__(
        self,
        window: UploadWindow,
        *,
        buffers: int = 4,
        chunk: int = CHUNK,
        align: int = 1,
        deaf: bool = False,
        lose_request: Callable[[int], bool] = lambda number: False,
        lose_answer: Callable[[int], bool] = lambda number: False,
    ) -> None:
        self.window, self.buffers, self.chunk, self.align = window, buffers, chunk, align
        self.lose_request, self.lose_answer = lose_request, lose_answer
        self.deaf, self.deaf_until = deaf, 0.0
        self.expected = 0
        self.held = self.overflows = self.most_held = 0
        self.now = self.line_free = self.cpu_free = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def run(self) -> float:
        while not (self.window.done or self.window.gave_up):
            while self.window.may_send:
                self._send()
            deadline, question = self.window.deadline_s(), self.window.question_s()
            assert deadline is not None
            soonest = min(deadline, question or deadline)
            if self._events and self._events[0][0] <= soonest:
                self.now, _, event = heapq.heappop(self._events)
                event()
            elif question == soonest:
                self.now = question
                self._post(self.window.ask(self.now), QUESTION_S)
            else:
                self.now = deadline
                self.window.on_timeout()
        return self.now

    def _at(self, time_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time_s, next(self._order), event))

    def _send(self) -> None:
        self._post(self.window.send(self.chunk, self.now), FRAME_S)

    def _post(self, piece: Piece, duration_s: float) -> None:
        self.line_free = max(self.now, self.line_free) + duration_s
        if not self.lose_request(piece.number):
            self._at(self.line_free, lambda: self._arrive(piece.number, piece.offset, piece.end))

    def _arrive(self, number: int, offset: int, end: int) -> None:
        if self.now < self.deaf_until:
            return
        if self.held >= self.buffers:
            self.overflows += 1
            return
        self.held += 1
        self.most_held = max(self.most_held, self.held)
        page = offset // 4096 != end // 4096 or offset == 0
        work_s = (WORK_S + (ERASE_S if page else 0)) if offset == self.expected and end > offset else 0.001
        self.cpu_free = max(self.now, self.cpu_free) + work_s
        if self.deaf and work_s > ERASE_S:
            self.deaf_until = self.cpu_free
        if offset == self.expected and end > offset:
            self.expected = end if end == self.window._size_bytes else end - end % self.align
        elif offset == 0 and end > 0:
            self.expected = end
        wanted = self.expected

        def answer() -> None:
            self.held -= 1
            if not self.lose_answer(number):
                self.window.on_answer(number & 0xFF, wanted, self.now)

        self._at(self.cpu_free, answer)


def upload(*, max_requests: int = 4, flow_control: bool = True, **options: object) -> tuple[Device, float]:
    window = UploadWindow(SIZE, WindowLimits(max_requests=max_requests, flow_control=flow_control))
    device = Device(window, **options)  # type: ignore[arg-type]
    return device, device.run()


def test_given_a_clean_line_then_every_byte_is_sent_once_and_the_window_grows_to_what_the_device_holds() -> (
    None
):
    device, _ = upload()
    assert device.expected == SIZE
    assert (device.window.sent_bytes, device.window.losses, device.overflows) == (SIZE, 0, 0)
    assert device.window.window == 4
    assert device.most_held > 1


def test_given_the_first_request_then_nothing_else_is_sent_before_its_answer() -> None:
    window = UploadWindow(SIZE, WindowLimits(max_requests=4))
    window.send(CHUNK, 0.0)
    assert not window.may_send
    assert window.deadline_s() == 40.0
    window.on_answer(0, CHUNK, 10.0)
    assert window.may_send


def test_given_a_device_that_answers_questions_but_never_takes_the_first_request_then_it_is_given_up() -> (
    None
):
    window = UploadWindow(SIZE, WindowLimits(max_requests=4))
    for attempt in range(10):
        assert not window.gave_up
        window.send(CHUNK, float(attempt))
        question = window.ask(attempt + 0.5)
        assert window.on_answer(question.sequence, 0, attempt + 0.6) is Outcome.WENT_BACK
    assert window.gave_up


def test_given_one_buffer_then_only_one_request_is_ever_unanswered() -> None:
    device, _ = upload(max_requests=1, buffers=1)
    assert (device.expected, device.most_held, device.overflows) == (SIZE, 1, 0)


def test_given_a_lost_request_when_the_next_is_answered_then_the_upload_goes_back_without_waiting() -> None:
    _, clean_s = upload()
    device, lossy_s = upload(lose_request=lambda number: number == 20)
    assert (device.expected, device.window.losses) == (SIZE, 1)
    assert lossy_s - clean_s < 0.5


def test_given_a_lost_answer_then_the_following_one_stands_for_it() -> None:
    device, _ = upload(lose_answer=lambda number: number == 20)
    assert (device.expected, device.window.losses, device.window.sent_bytes) == (SIZE, 0, SIZE)


def test_given_a_device_with_fewer_buffers_than_it_says_then_losses_stay_rare() -> None:
    device, _ = upload(buffers=1)
    assert device.expected == SIZE
    assert 0 < device.window.losses <= 6


def test_given_no_flow_control_and_a_device_that_receives_nothing_while_it_erases_then_nothing_is_ever_lost() -> (
    None
):
    # What comes during an erase is gone; the question asked then is, so the window stays one.
    device, _ = upload(flow_control=False, deaf=True)
    assert device.expected == SIZE
    assert (device.window.losses, device.window.window) == (0, 1)
    assert device.window.questions > 0


def test_given_no_flow_control_and_a_device_that_receives_all_the_time_then_a_question_shows_it() -> None:
    device, _ = upload(flow_control=False)
    assert device.expected == SIZE
    assert (device.window.losses, device.window.window) == (0, 4)


def test_given_a_lost_request_and_nothing_behind_it_then_a_question_finds_it_sooner_than_the_timeout() -> (
    None
):
    _, clean_s = upload(max_requests=2, flow_control=False, deaf=True)
    device, lossy_s = upload(
        max_requests=2, flow_control=False, deaf=True, lose_request=lambda number: number == 27
    )
    assert (device.expected, device.window.losses) == (SIZE, 1)
    assert lossy_s - clean_s < 1.6 * ERASE_S / 2


def test_given_damage_now_and_then_and_flow_control_then_the_window_comes_back_at_once() -> None:
    _, clean_s = upload()
    device, lossy_s = upload(lose_request=lambda number: number in (20, 33, 50))
    assert (device.expected, device.window.losses) == (SIZE, 3)
    assert device.window.window == 4
    assert lossy_s < 1.15 * clean_s


def test_given_a_first_request_that_is_lost_then_a_question_finds_out_long_before_the_erase_would_end() -> (
    None
):
    device, lossy_s = upload(lose_request=lambda number: number == 0)
    assert (device.expected, device.window.losses) == (SIZE, 1)
    assert lossy_s < 3.0


def test_given_an_offset_of_another_session_in_answer_to_a_question_then_the_upload_still_begins_at_zero() -> (
    None
):
    window = UploadWindow(SIZE, WindowLimits(max_requests=3))
    window.send(CHUNK, 0.0)
    question = window.ask(0.5)
    assert window.on_answer(question.sequence, 12_000, 0.6) is Outcome.WENT_BACK
    assert (window.acknowledged, window.next_offset) == (0, 0)


def test_given_a_server_that_forgot_the_session_at_its_end_then_the_upload_is_done_but_unseen() -> None:
    window = UploadWindow(2 * CHUNK, WindowLimits(max_requests=3))
    for sequence in range(2):
        window.send(CHUNK, float(sequence))
        if sequence == 0:
            window.on_answer(0, CHUNK, 0.5)
    question = window.ask(3.0)
    assert window.on_answer(question.sequence, 0, 3.1) is Outcome.ADVANCED
    assert (window.done, window.end_unseen) == (True, True)


def test_given_a_late_answer_then_its_time_is_learned() -> None:
    window = UploadWindow(SIZE, WindowLimits(), start=CHUNK)
    before_s = window._timer.timeout_s
    window.send(CHUNK, 0.0)
    window.on_timeout()
    window.on_answer(0, 2 * CHUNK, 3.0)
    assert window._timer.timeout_s > before_s
    assert window._timer.timeout_s == pytest.approx(4.8)


def test_given_a_device_that_rounds_down_then_that_is_no_loss() -> None:
    device, _ = upload(chunk=349, align=4)
    assert device.expected == SIZE
    assert (device.overflows, device.window.gave_up) == (0, False)


def test_given_a_loss_then_the_window_is_one() -> None:
    window = UploadWindow(SIZE, WindowLimits(max_requests=2, flow_control=True))
    for sequence in range(3):
        window.send(CHUNK, 0.0)
        window.on_answer(sequence, (sequence + 1) * CHUNK, 0.01)
    assert window.window == 2
    window.send(CHUNK, 1.0)
    window.send(CHUNK, 1.0)
    assert window.on_answer(4, 3 * CHUNK, 1.01) is Outcome.WENT_BACK
    assert (window.window, window.next_offset, window.outstanding) == (1, 3 * CHUNK, 0)


def test_given_a_device_that_restarted_then_that_is_told() -> None:
    window = UploadWindow(SIZE, WindowLimits(), start=10_000)
    window.send(CHUNK, 0.0)
    assert window.on_answer(0, 0, 0.01) is Outcome.SESSION_LOST
    assert window.acknowledged == 10_000


def test_given_a_late_answer_then_its_progress_counts_and_an_old_one_is_stale() -> None:
    window = UploadWindow(SIZE, WindowLimits(), start=CHUNK)
    window.send(CHUNK, 0.0)
    window.on_timeout()
    window.send(CHUNK, 1.0)
    assert window.on_answer(0, 2 * CHUNK, 1.1) is Outcome.ADVANCED
    assert window.on_answer(1, 2 * CHUNK, 1.2) is Outcome.STALE
    assert window.next_offset == 2 * CHUNK


def test_given_a_dead_device_then_it_gives_up() -> None:
    device, _ = upload(lose_request=lambda number: True)
    assert device.window.gave_up
    assert device.window.acknowledged == 0


@pytest.mark.parametrize("max_requests", [1, 2, 8])
@given(seed=st.integers(0, 2**32), loss=st.sampled_from([0.0, 0.02, 0.1]))
def test_given_any_losses_then_the_image_arrives_and_no_more_is_under_way_than_allowed(
    max_requests: int, seed: int, loss: float
) -> None:
    chance = random.Random(seed)
    device, _ = upload(
        max_requests=max_requests,
        buffers=2 * max_requests,
        lose_request=lambda number: chance.random() < loss,
        lose_answer=lambda number: chance.random() < loss,
    )
    assert device.expected == SIZE
    assert device.window.done
    assert device.window.acknowledged == SIZE
