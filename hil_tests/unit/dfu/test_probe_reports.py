"""What pynrfjprog's library says becomes progress, error texts, and failures that it does not raise."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from bridge.dfu.probe.failures import translate, unraised
from bridge.dfu.probe.reports import ProbeProgress, VendorLog
from bridge.dfu.probe.vendor import LOGGER_NAME
from bridge.errors import BenchError, BoardNotFoundError, BoardRefusedError, LinkError

LOGGER = logging.getLogger(LOGGER_NAME)
ORIGIN = "[Probes./dev/pts/0] [MCUBoot-/dev/pts/0] "


@pytest.fixture
def reports() -> list[ProbeProgress]:
    return []


@pytest.fixture
def log(reports: list[ProbeProgress]) -> Iterator[VendorLog]:
    listener = VendorLog(reports.append)
    yield listener
    listener.close()


def test_the_percentage_of_an_operation_counts_and_that_of_a_step_does_not(
    log: VendorLog, reports: list[ProbeProgress]
) -> None:
    step = {"amountOfSteps": 3, "message": "Programming file 2 of 3", "progressPercentage": 66, "step": 2}
    LOGGER.info("%s%s", ORIGIN, json.dumps({"operation": "upload_image", **step}))
    LOGGER.info(
        "%s%s",
        ORIGIN,
        json.dumps(
            {"operation": "upload_image", "message": "Uploading", "progress_percentage": 41}, indent=4
        ),
    )
    assert reports == [
        ProbeProgress("upload_image", None, "Programming file 2 of 3", 2, 3),
        ProbeProgress("upload_image", 41, "Uploading", 2, 3),
    ]
    assert not log.failed


def test_sentences_and_other_json_are_no_progress(log: VendorLog, reports: list[ProbeProgress]) -> None:
    for text in ("Finished with file.", "{broken", '{"a": 1}', "[HighLevel] Done."):
        LOGGER.info("%s%s", ORIGIN, text)
    LOGGER.debug("%s%s", ORIGIN, '{"operation": "x"}')
    assert (reports, log.errors, log.failed) == ([], [], False)


@pytest.mark.parametrize("report", [{"outcome": "fail"}, {"result": "fail"}])
def test_a_reported_failure_is_remembered_until_it_is_cleared(log: VendorLog, report: dict[str, str]) -> None:
    LOGGER.info("%s%s", ORIGIN, json.dumps({"operation": "upload_image", **report}))
    assert log.failed
    log.clear()
    assert not log.failed


def test_of_the_errors_only_those_that_tell_something_are_kept(log: VendorLog) -> None:
    LOGGER.error("%s%s", ORIGIN, "delete package returns error 8")
    LOGGER.error("%s%s", ORIGIN, "CBOR response contains non-zero return code, 6")
    LOGGER.error("[Probes./dev/pts/0] b'An error was reported by NRFJPROG DLL'")
    assert log.errors == ["CBOR response contains non-zero return code, 6"]


def test_nothing_reaches_the_handlers_of_the_program_while_it_listens() -> None:
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    logging.getLogger("pynrfjprog").addHandler(handler)
    listener = VendorLog(lambda _: None)
    LOGGER.error("for the listener")
    listener.close()
    LOGGER.error("for everybody")
    logging.getLogger("pynrfjprog").removeHandler(handler)
    assert heard.getvalue() == "for everybody\n"


@pytest.mark.parametrize(
    ("code", "said", "kind", "reason"),
    [
        (-254, "CBOR response contains non-zero return code, 1", BoardRefusedError, "dfu-refused"),
        (-1, "CBOR response contains non-zero return code, 2", BoardRefusedError, "dfu-refused"),
        (-2, "Error parsing CBOR payload, Key not found: 'rc'", BoardRefusedError, "not-supported"),
        (-2, "Unexpected offset returned from smp server", LinkError, "bytes-lost"),
        (-114, "Not able to open serial port, error is 2", BoardNotFoundError, "port-missing"),
        (-114, "Not able to open serial port, error is 13", BenchError, "port-denied"),
        (-114, "Not able to open serial port, error is 16", BenchError, "port-held"),
        (-114, "no reason", BoardNotFoundError, "port-unusable"),
        (-999, "something new", Exception, "probe-internal"),
    ],
)
def test_what_was_said_decides_where_the_code_does_not(code: int, said: str, kind: type, reason: str) -> None:
    error = translate(code, "NAME", [said], port="/dev/nowhere")
    assert (isinstance(error, kind), error.reason) == (True, reason)


def test_a_failure_that_was_only_logged_is_an_error_all_the_same() -> None:
    error = unraised(["Error during image file upload."])
    assert (error.reason, error.exit_code, "image file upload" in error.message) == ("dfu-refused", 6, True)
    assert "SMP error 200" in unraised(["x", "CBOR response contains non-zero return code, 200"]).message
