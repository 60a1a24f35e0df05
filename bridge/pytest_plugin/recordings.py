"""What went over the cable in a test, as files: raw in each direction, as a transcript to replay, and as a plot."""

from pathlib import Path
from typing import Final

from bridge.board.transcript import TranscriptWriter
from bridge.board.transcript_mask import SecretMask
from bridge.pytest_plugin.artifacts import TestRecord, register_writer
from bridge.pytest_plugin.report_svg import standalone, throughput
from bridge.pytest_plugin.updates import Story

_MOST_SAMPLES: Final = 200


def write_raw(directory: Path, record: TestRecord) -> None:
    """``serial-in.bin`` and ``serial-out.bin``: the bytes as they were, but for secrets."""
    for way in ("in", "out"):
        masks: dict[str, SecretMask] = {}
        with (directory / f"serial-{way}.bin").open("wb") as file:
            for chunk in record.log.chunks:
                if chunk.direction == way:
                    mask = masks.setdefault(chunk.port, SecretMask(incoming=way == "in"))
                    file.write(mask.feed(chunk.data))


def write_transcript(directory: Path, record: TestRecord) -> None:
    """``transcript.jsonl``, for ``nrf91-bridge replay`` and ``replay://``."""
    with TranscriptWriter(directory / "transcript.jsonl") as writer:
        for chunk in record.log.chunks:
            writer.tell(chunk.port, chunk.direction, chunk.data, t_s=chunk.time_s)


def write_updates(directory: Path, record: TestRecord) -> None:
    """``update-1.jsonl`` and so on: each update alone, with the command that does it, so that it can be replayed as it is."""
    for number, story in enumerate(record.stories, start=1):
        if not story.command or not story.events:
            continue
        began_s, ended_s = story.began_s - record.log.began_s, story.ended_s - record.log.began_s
        writer = TranscriptWriter(directory / f"update-{number}.jsonl", story.command)
        for chunk in record.log.chunks:
            if began_s <= chunk.time_s <= ended_s:
                writer.tell(chunk.port, chunk.direction, chunk.data, t_s=chunk.time_s - began_s)
        writer.close(0 if story.error is None else story.error.exit_code)


def write_plot(directory: Path, record: TestRecord) -> None:
    """``throughput.svg`` of the last update, if anything was written."""
    for story in reversed(record.stories):
        if plot := throughput(progress_samples(story)):
            (directory / "throughput.svg").write_text(standalone(plot), encoding="utf-8")
            return


def progress_samples(story: Story) -> list[tuple[float, int]]:
    """Bytes in the board over time, at most some 200 of them."""
    samples = story.progress
    step = max(1, len(samples) // _MOST_SAMPLES)
    kept = samples[::step]
    return kept if not samples or kept[-1] == samples[-1] else [*kept, samples[-1]]


register_writer("serial.bin", write_raw)
register_writer("transcript.jsonl", write_transcript)
register_writer("update.jsonl", write_updates)
register_writer("throughput.svg", write_plot)
