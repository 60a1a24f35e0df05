"""The journal's file: what is written stays, one process at a time, and nothing is lost when it cannot be used."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.errors import BenchError, InterruptedUpdateError, UsageError
from bridge.fota import (
    BoardIdentified,
    Finished,
    ImageAccepted,
    ImageJudged,
    Notice,
    Outcome,
    Progress,
    Stage,
    StageStarted,
    Waiting,
)
from bridge.fota.earlier_run import EarlierRun
from bridge.fota.journal import SUPERSEDED, Journal
from bridge.fota.journal_db import BALLAST_BYTES, JournalDb
from bridge.fota.journal_rows import read_history
from bridge.fota.journal_schema import APPLICATION_ID, MIGRATIONS, migrate
from bridge.fota.journal_values import Order, Report

FILE = Order("/dev/ttyACM0", "app.bin", "ab" * 32)
SUCCESS = Finished(Stage.DONE, Outcome.SUCCEEDED, None, "the board runs it", "1.0.0", "2.0.0", "2.0.0")


def job(version: int = 1, *, queued_at: int | None = 1_000, number: int = 1) -> Order:
    return Order(
        "/dev/ttyACM0",
        thing="t",
        job_id="job-1",
        execution_number=number,
        queued_at=queued_at,
        job_version=version,
    )


def until_scheduled(journal: Journal, order: Order) -> None:
    """An update that gets as far as scheduling, and whose process ends there."""
    record = journal.begin(order)
    for event in (
        StageStarted(Stage.FETCH),
        StageStarted(Stage.CHECK),
        BoardIdentified(Stage.CHECK, "nRF9151", "350123456789012", "v1.0.0", "2.0.2", "xdfu"),
        ImageAccepted(Stage.CHECK, "application", "app.bin", 1000, "1.0.0", "2.0.0"),
        StageStarted(Stage.TRANSFER),
        Progress(Stage.TRANSFER, 1000, 1000, 5.0, 1),
        ImageJudged(Stage.TRANSFER, "cd" * 32, "ef" * 32),
        StageStarted(Stage.SCHEDULE),
    ):
        record.take(event)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "journal.sqlite3"


def test_given_a_cut_off_update_when_the_same_order_comes_then_it_is_known_how_far_it_was(file: Path) -> None:
    with Journal(file) as journal:
        until_scheduled(journal, FILE)
    with Journal(file) as journal:
        record = journal.begin(FILE)
        left_at = record.entry.changed_at
        assert record.earlier == EarlierRun(
            Stage.SCHEDULE, "1.0.0", "ef" * 32, "350123456789012", left_at=left_at
        )
        assert (record.entry.runs, record.entry.offset_bytes, record.entry.sha256) == (1, 1000, "cd" * 32)
        assert journal.entry(record.entry.number).runs == 2


def test_given_a_second_run_then_what_the_first_did_counts_until_the_board_is_written_again(
    file: Path,
) -> None:
    with Journal(file) as journal:
        until_scheduled(journal, FILE)
        second = journal.begin(FILE)
        second.take(StageStarted(Stage.FETCH))
        second.take(StageStarted(Stage.CHECK))
        third = journal.begin(FILE)
        assert third.earlier is not None
        assert third.earlier.stage is Stage.SCHEDULE
        third.take(StageStarted(Stage.TRANSFER))
        fourth = journal.begin(FILE)
        assert fourth.earlier is not None
        assert fourth.earlier.stage is Stage.TRANSFER


def test_given_an_update_that_ended_when_the_same_file_comes_again_then_it_is_a_new_update(
    file: Path,
) -> None:
    with Journal(file) as journal:
        first = journal.begin(FILE)
        first.end(SUCCESS)
        second = journal.begin(FILE)
        assert second.entry.number != first.entry.number
        assert second.earlier is None


def test_given_an_interrupted_update_then_it_stays_open(file: Path) -> None:
    stopped = InterruptedUpdateError("told to stop")
    with Journal(file) as journal:
        until_scheduled(journal, FILE)
        journal.begin(FILE).end(
            Finished(Stage.TRANSFER, Outcome.INTERRUPTED, "interrupted", "told to stop", None, None, "1.0.0"),
            stopped,
        )
        assert journal.begin(FILE).entry.runs == 2


def test_given_another_file_on_the_same_board_then_what_was_open_there_is_given_up(file: Path) -> None:
    with Journal(file) as journal:
        until_scheduled(journal, FILE)
        journal.begin(Order(FILE.place, "other.bin", "00" * 32))
        journal.begin(Order("/dev/ttyACM1", "app.bin", FILE.sha256))
        entries = [entry for entry, _ in read_history(file, 10)]
    assert [(entry.outcome, entry.reason) for entry in entries] == [
        (None, None),
        (None, None),
        (Outcome.INTERRUPTED, SUPERSEDED),
    ]


@pytest.mark.parametrize(
    ("offered", "same"),
    [
        (job(7), True),
        (job(7, queued_at=None), True),
        (job(2, queued_at=None), False),
        (job(7, queued_at=2_000), False),
        (job(7, number=2), False),
    ],
    ids=["later", "no queue time", "younger version", "queued at another time", "another execution"],
)
def test_given_a_job_of_the_same_name_then_only_the_same_execution_is_taken_up(
    file: Path, offered: Order, same: bool
) -> None:
    with Journal(file) as journal:
        until_scheduled(journal, job())
        journal.begin(job(3)).taken(5)
        assert (journal.begin(offered).earlier is not None) is same


def test_jobs_that_are_open_or_not_told_are_unsettled_and_no_others(file: Path) -> None:
    with Journal(file) as journal:
        for number, report in ((1, None), (2, Report.DUE), (3, Report.TAKEN), (4, Report.GONE)):
            record = journal.begin(job(number=number))
            if report is not None:
                record.end(SUCCESS, details={"stage": "done"}, report=report)
        journal.begin(FILE)
        found = journal.unsettled_jobs("t")
        assert [(entry.order.execution_number, entry.report) for entry in found] == [
            (1, Report.NONE),
            (2, Report.DUE),
        ]
        assert found[1].details == {"stage": "done"}
        assert journal.unsettled_jobs("other") == []
        journal.record_of(found[1]).reported(Report.TAKEN, "SUCCEEDED")
        assert [entry.order.execution_number for entry in journal.unsettled_jobs("t")] == [1]


def test_a_history_is_readable_while_the_journal_is_in_use_and_tells_the_story(file: Path) -> None:
    with Journal(file) as journal:
        until_scheduled(journal, FILE)
        record = journal.begin(FILE)
        record.take(Notice(Stage.CHECK, "it waits for the reboot"))
        for text in ("2.9 V are too little", "2.9 V are too little", "3.0 V are too little"):
            record.take(Waiting(Stage.CHECK, "voltage-low", text))
        record.end(SUCCESS)
        ((entry, steps),) = read_history(file, 5)
    assert [step.what for step in steps] == [
        *("fetch", "check", "transfer", "schedule", "taken-up", "note", "note", "note", "ended"),
    ]
    assert [step.run for step in steps] == [1, 1, 1, 1, 2, 2, 2, 2, 2]
    assert (entry.outcome, entry.running_version) == (Outcome.SUCCEEDED, "2.0.0")
    shown = json.loads(json.dumps(entry.to_dict()))
    assert (shown["name"], shown["order_sha256"], shown["outcome"]) == ("app.bin", "ab" * 32, "succeeded")
    assert shown["started_at"].endswith("Z")


def test_old_updates_are_forgotten_but_not_those_that_are_open(file: Path) -> None:
    with Journal(file, kept_updates=3) as journal:
        journal.begin(job())
        for number in range(6):
            journal.begin(Order(f"port {number}", "app.bin")).end(SUCCESS)
        kept = [entry.number for entry, _ in read_history(file, 100)]
    assert kept == [7, 6, 5, 1]


# --- one process at a time ----------------------------------------------------------------------------------------


def test_a_journal_in_use_is_refused_and_its_holder_named(file: Path) -> None:
    with Journal(file, owner="nrf91-bridge run for thing-1"), pytest.raises(BenchError) as caught:
        Journal(file)
    assert caught.value.exit_code == 9
    assert caught.value.reason == "journal-held"
    assert "nrf91-bridge run for thing-1 (process " in caught.value.message
    Journal(file).close()


def test_a_journal_whose_process_was_killed_is_free_again_and_whole(file: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from bridge.fota.journal import Journal; from bridge.fota.journal_values import Order\n"
        "journal = Journal(Path(sys.argv[1])); journal.begin(Order('port', 'app.bin', '11' * 32))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(file)], check=False).returncode == -9
    with Journal(file) as journal:
        assert journal.begin(Order("port", "app.bin", "11" * 32)).entry.runs == 1


# --- what cannot be used ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be looked at" * 30, None])
def test_a_damaged_journal_is_refused_and_not_touched(file: Path, content: bytes | None) -> None:
    with Journal(file) as journal:
        for number in range(40):
            until_scheduled(journal, Order(f"port {number}", "app.bin", "22" * 32))
    damaged = bytearray(file.read_bytes())
    damaged[4096 : 4096 * 3] = b"\xa5" * 4096 * 2
    before = bytes(damaged) if content is None else content
    file.write_bytes(before)
    with pytest.raises(BenchError) as caught:
        Journal(file)
    assert (caught.value.reason, caught.value.exit_code) == ("journal-corrupt", 9)
    assert "--move-aside" in (caught.value.hint or "")
    assert file.read_bytes() == before


def test_another_programs_database_is_refused(file: Path) -> None:
    file.parent.mkdir()
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")
    connection.close()
    with pytest.raises(BenchError, match="another program"):
        Journal(file)


def test_a_journal_of_a_later_release_is_refused(file: Path) -> None:
    Journal(file).close()
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    for use in (Journal, lambda path: read_history(path, 1)):
        with pytest.raises(BenchError) as caught:
            use(file)
        assert caught.value.reason == "journal-newer"


def test_a_journal_of_an_earlier_schema_is_brought_up_to_date_and_keeps_what_it_has(file: Path) -> None:
    with Journal(file) as journal:
        until_scheduled(journal, FILE)
    connection = sqlite3.connect(file, isolation_level=None)
    later = (*MIGRATIONS, ("ALTER TABLE updates ADD COLUMN colour TEXT", "UPDATE updates SET colour = 'red'"))
    migrate(connection, file, later)
    assert connection.execute("SELECT name, colour FROM updates").fetchall() == [("app.bin", "red")]
    assert connection.execute("PRAGMA user_version").fetchone() == (len(later),)
    migrate(connection, file, later)
    connection.close()


def test_a_step_to_a_newer_schema_is_done_whole_or_not_at_all(file: Path) -> None:
    Journal(file).close()
    connection = sqlite3.connect(file, isolation_level=None)
    broken = (*MIGRATIONS, ("ALTER TABLE updates ADD COLUMN colour TEXT", "no such statement"))
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, file, broken)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(updates)")]
    connection.close()
    assert "colour" not in columns
    Journal(file).close()


def test_a_new_journal_is_marked_as_one(file: Path) -> None:
    Journal(file).close()
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    connection.close()


@pytest.mark.parametrize("place", ["/proc/nrf91-bridge/journal.sqlite3", "/dev/null/journal.sqlite3"])
def test_where_no_file_can_be_written_that_is_said_at_once(place: str) -> None:
    with pytest.raises(BenchError) as caught:
        Journal(Path(place))
    assert (caught.value.reason, caught.value.exit_code) == ("journal-unusable", 9)


def test_a_journal_that_may_only_be_read_is_noticed_before_an_update_begins(file: Path) -> None:
    with Journal(file) as journal:
        journal._db.rows("PRAGMA query_only = ON")
        with pytest.raises(BenchError, match="readonly") as caught:
            journal.begin(FILE)
    assert caught.value.reason == "journal-unusable"


def test_a_full_disk_is_noticed_before_an_update_begins(file: Path) -> None:
    with Journal(file) as journal:
        journal._db.rows("VACUUM")  # gives back what the ballast has taken
        journal._db.rows(f"PRAGMA max_page_count = {BALLAST_BYTES // 4096}")
        with pytest.raises(BenchError) as caught:
            journal.begin(FILE)
        assert (caught.value.reason, caught.value.exit_code) == ("journal-full", 9)
        assert read_history(file, 5) == []
        journal._db.rows("PRAGMA max_page_count = 100000")
        journal.begin(FILE)


def test_room_that_was_made_is_enough_for_a_whole_update(file: Path) -> None:
    with Journal(file) as journal:
        record = journal.begin(FILE)
        before = file.stat().st_size, Path(f"{file}-wal").stat().st_size
        for number in range(60):
            record.take(Notice(Stage.TRANSFER, f"something happened for the {number}th time"))
        record.end(SUCCESS, details={"message": "x" * 1024}, report=Report.DUE)
        assert (file.stat().st_size, Path(f"{file}-wal").stat().st_size) <= before


def test_a_failed_transaction_changes_nothing(file: Path) -> None:
    db = JournalDb(file, "test")
    with pytest.raises(KeyError), db.transaction() as connection:
        connection.execute("INSERT INTO ballast VALUES ('half')")
        raise KeyError
    assert db.rows("SELECT count(*) FROM ballast")[0][0] == 0
    db.close()
    db.close()


def test_without_a_journal_there_is_no_history(file: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_history(file, 1)
    assert caught.value.reason == "no-journal"


def test_a_journal_in_memory_works_and_is_nobody_elses() -> None:
    with Journal() as one, Journal() as other:
        one.begin(FILE)
        assert other.begin(FILE).entry.number == 1
