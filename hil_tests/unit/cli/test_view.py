"""How one update is shown: what boards, clouds and files say is text, whatever is in it."""

import errno
import io
import os
import sys

import pytest

from bridge.cli.output import RedactingConsole
from bridge.cli.view import UpdateView
from bridge.fota import (
    BoardIdentified,
    Finished,
    ImageAccepted,
    Notice,
    Outcome,
    Stage,
    StageStarted,
    UpdateEvent,
    Waiting,
)

HOSTILE = "5.0 [/x] [red]gone[/red] ::100:"


@pytest.mark.parametrize(
    "event",
    [
        Notice(Stage.CHECK, f"version {HOSTILE} was ordered"),
        Waiting(Stage.CHECK, "battery-low", HOSTILE),
        ImageAccepted(Stage.CHECK, "application", HOSTILE, 100, None, None),
        ImageAccepted(Stage.CHECK, "application", "app.bin", 100, HOSTILE, HOSTILE),
        BoardIdentified(Stage.CHECK, HOSTILE, "35", "1.0.0", "mfw", "xdfu", "it answers"),
        Finished(Stage.CHECK, Outcome.REJECTED, "wrong-board", HOSTILE, None, None, None),
        Finished(Stage.DONE, Outcome.SUCCEEDED, None, "it runs", HOSTILE, HOSTILE, HOSTILE),
    ],
)
def test_nothing_in_a_text_is_markup(event: UpdateEvent, capsys: pytest.CaptureFixture[str]) -> None:
    with UpdateView(json=False) as view:
        view.show(event)
    assert HOSTILE in capsys.readouterr().err


def test_secrets_are_taken_out_of_texts_with_a_style(capsys: pytest.CaptureFixture[str]) -> None:
    text = "cannot fetch https://h/a.bin?X-Amz-Signature=planted"
    with UpdateView(json=False) as view:
        view.show(StageStarted(Stage.FETCH))
        view.show(Finished(Stage.FETCH, Outcome.FAILED, "http-403", text, None, None, None))
    shown = capsys.readouterr().err
    assert "FAILED cannot fetch https://h/a.bin?..." in shown
    assert "planted" not in shown


@pytest.mark.parametrize("error", [BrokenPipeError(errno.EPIPE, "gone"), OSError(errno.ENOSPC, "full")])
def test_output_that_cannot_be_written_does_not_end_an_update(
    error: OSError, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise error

    monkeypatch.setattr(sys, "stdout", Gone())
    with UpdateView(json=True) as view:
        for stage in (Stage.FETCH, Stage.CHECK):
            view.show(StageStarted(stage))
    assert [record.message for record in caplog.records] == [
        f"what happens cannot be shown any more: {error.strerror}; the update goes on"
    ]


def test_people_who_stop_reading_do_not_end_the_process() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as file:
        console = RedactingConsole(file=file)
        console.print("nobody reads this")
        console.print("nor this")
        with pytest.raises(BrokenPipeError):
            file.close()
