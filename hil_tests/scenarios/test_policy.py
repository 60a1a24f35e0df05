"""Policy from the command line to the job's status: each refusal is a code and a sentence; and no secret on the way."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.board import Board
from bridge.fota import Finished, Outcome, Policy, Update, UpdateOptions, Waiting, over_at
from bridge.fota.supply import SupplyRules
from bridge.image import FileSource
from bridge.lab.sample_images import SampleImages
from bridge.lab.sample_key import development_public_key_path, other_key_pem
from bridge.virtual.board import VirtualBoard
from bridge.virtual.modem import ModemOptions
from bridge.virtual.pty_server import PtyServer
from hil_tests.scenarios.conftest import OLD_VERSION, Bench, image_facts, story
from hil_tests.secret_watch import MARK


@pytest.fixture
def other_key(tmp_path: Path) -> Path:
    path = tmp_path / "other.pem"
    path.write_bytes(other_key_pem())
    path.chmod(0o600)
    return path


Arrange = Callable[[Bench, Path], tuple[dict[str, object], list[str]]]


def arrange(*options: str, **members: object) -> Arrange:
    return lambda bench, _: (bench.document(bench.samples.application("2.0.0"), **members), list(options))


def at_place(url: str, *options: str) -> Arrange:
    return arrange(*options, location={"url": f"{url}?X-Amz-Signature={MARK}"})


def without_digest(bench: Bench, _: Path) -> tuple[dict[str, object], list[str]]:
    return bench.document(bench.samples.application("2.0.0")), ["--require-sha256"]


def wrong_key(bench: Bench, other: Path) -> tuple[dict[str, object], list[str]]:
    return bench.document(bench.samples.application("2.0.0")), [
        "--image-key",
        str(other),
        "--image-key",
        str(other),
    ]


def to_older_modem(bench: Bench, _: Path) -> tuple[dict[str, object], list[str]]:
    return bench.document(bench.samples.modem_delta("2.0.2", "2.0.1")), []


def for_another_family(bench: Bench, _: Path) -> tuple[dict[str, object], list[str]]:
    image = bench.samples.modem_delta("2.0.2", "2.0.3")
    name = "mfw_nrf9160_update_from_2.0.2_to_2.0.3.bin"
    url = bench.cloud.images.publish(image, name)
    return {"operation": "modem_fw_update", "location": {"url": url}}, []


@pytest.mark.parametrize(
    ("reason", "setup"),
    [
        ("host-refused", arrange("--allow-host", "images.example.com")),
        ("address-refused", at_place("https://10.0.0.1/app.bin")),
        ("address-refused", at_place("https://169.254.169.254/latest/meta-data/")),
        ("address-refused", at_place("https://[::ffff:192.168.1.1]/app.bin")),
        ("bad-url", at_place("https://2130706433/app.bin")),
        ("scheme-refused", at_place("http://images.example.com/app.bin")),
        ("sha256-required", without_digest),
        ("too-large", arrange("--max-size", "1000")),
        ("too-large", arrange("--slot-size", "8192")),
        ("wrong-key", wrong_key),
        ("wrong-board", arrange(board="nrf9160dk")),
        ("downgrade", to_older_modem),
        ("wrong-board", for_another_family),
    ],
)
def test_a_job_against_the_policy_is_rejected_with_a_code_and_a_sentence(
    bench: Bench, other_key: Path, reason: str, setup: Arrange
) -> None:
    document, options = setup(bench, other_key)
    operations = bench.board.flash.operations
    code, execution = bench.run_job(document, *options)
    status, told, details = story(execution)
    assert (code, status, told) == (5, "REJECTED", reason)
    assert len(details["message"]) > 20
    if reason != "wrong-key":  # judged when the last byte is here, before it is scheduled
        assert bench.board.flash.operations == operations
    with Board.open(bench.port) as board:
        assert board.identify().application_version == f"v{OLD_VERSION}"


def test_a_redirect_to_a_place_that_is_not_allowed_is_rejected(bench: Bench) -> None:
    from bridge.lab.image_faults import ImageFault  # noqa: PLC0415

    image = bench.samples.application("2.0.0")
    document = bench.document(image)
    bench.cloud.images.faults.add(image.name, ImageFault(redirect_to="https://169.254.169.254/latest"))
    code, execution = bench.run_job(document)
    assert (code, *story(execution)[:2]) == (5, "REJECTED", "address-refused")


def test_everything_that_a_configuration_asks_for_can_be_met(
    bench: Bench, other_key: Path, tmp_path: Path
) -> None:
    config = tmp_path / "bench.toml"
    config.write_text(
        f"""
        [policy]
        allow-host = "127.0.0.1"
        allow-network = ["loopback", "private"]
        image-key = ["{other_key}", "{development_public_key_path()}"]
        require-sha256 = true
        max-size = 1_000_000
        min-voltage = 3300
        strict = true
        window = ["00:00-12:00 UTC", "12:00-24:00 UTC"]
        """
    )
    image = bench.samples.application("2.0.0")
    document = bench.document(image, board="nrf9151dk", **image_facts(image))
    code, execution = bench.run_job(document, "--config", str(config))
    assert (code, execution.status) == (0, "SUCCEEDED"), execution.status_details


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('policy = "strict"\n', r"\[policy\]"),
        ("allow-http = true\n[policy]\nallow-http = false\n", r"\[policy\]"),
        ("[policy]\nallow-hosts = []\n", "allow-hosts"),
        ('[policy]\nwindow = "whenever"\n', "whenever"),
        ('[policy]\nallow-network = "everything"\n', "everything"),
        ('[policy]\nallow-host = "https://x"\n', "https://x"),
    ],
)
def test_a_policy_that_makes_no_sense_ends_with_exit_code_2(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, complaint: str
) -> None:
    config = tmp_path / "bench.toml"
    config.write_text(content)
    arguments = list(bench.run_arguments("--config", str(config)))
    at = arguments.index("--allow-network")  # the command line would win over the file
    del arguments[at : at + 2]
    assert bench.command(*arguments) == 2
    assert re.search(complaint, capsys.readouterr().err)


# --- voltage ---------------------------------------------------------------------------------------------------


def test_a_modem_update_on_a_low_battery_waits_is_told_and_fails(
    bench: Bench, samples: SampleImages, capsys: pytest.CaptureFixture[str]
) -> None:
    board = VirtualBoard(
        factory_image=samples.application(OLD_VERSION).read_bytes(),
        keys=[samples.public_key_pem],
        modem=ModemOptions(battery_mv=3_050),
    )
    document = bench.document(samples.modem_delta("2.0.2", "2.0.3"))
    with board, PtyServer(board) as pty:
        code, execution = bench.run_job(document, "--voltage-wait", "0.2", port=pty.path)
        assert (code, *story(execution)[:2]) == (9, "FAILED", "battery-low")
        assert "3050 mV" in execution.status_details["message"]
        events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        waiting = [event for event in events if event["event"] == "waiting"]
        assert (waiting[0]["reason"], waiting[0]["stage"]) == ("battery-low", "check")
        code, execution = bench.run_job(document, "--min-voltage", "3000", port=pty.path)
        assert (code, execution.status) == (0, "SUCCEEDED")


def test_a_modem_update_goes_on_when_the_voltage_rises(
    samples: SampleImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = VirtualBoard(
        factory_image=samples.application(OLD_VERSION).read_bytes(), keys=[samples.public_key_pem]
    )
    readings = iter([2_900, 2_950])
    monkeypatch.setattr("bridge.fota.at_route.AtRoute.supply_mv", lambda _: next(readings, 3_600))
    options = UpdateOptions(policy=Policy(supply=SupplyRules(poll_s=0.01)))
    with board, PtyServer(board) as pty:
        update = Update(
            FileSource(samples.modem_delta("2.0.2", "2.0.3")),
            over_at(lambda: Board.open(pty.path)),
            options=options,
        )
        events = list(update)
    assert isinstance(events[-1], Finished)
    assert events[-1].outcome is Outcome.SUCCEEDED
    assert sum(isinstance(event, Waiting) for event in events) == 2


def test_a_voltage_that_drops_before_the_restart_undoes_the_delta(
    samples: SampleImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = VirtualBoard(
        factory_image=samples.application(OLD_VERSION).read_bytes(), keys=[samples.public_key_pem]
    )
    readings = iter([3_600])
    monkeypatch.setattr("bridge.fota.at_route.AtRoute.supply_mv", lambda _: next(readings, 2_900))
    options = UpdateOptions(policy=Policy(supply=SupplyRules(wait_s=0.05, poll_s=0.01)))
    with board, PtyServer(board) as pty:
        with Board.open(pty.path) as opened:
            opened.modem.set_functional_mode(1)
        update = Update(
            FileSource(samples.modem_delta("2.0.2", "2.0.3")),
            over_at(lambda: Board.open(pty.path)),
            options=options,
        )
        (*_, last) = update
        assert isinstance(last, Finished)
        assert (last.outcome, last.reason, last.stage) == (Outcome.FAILED, "battery-low", "schedule")
        with Board.open(pty.path) as opened:
            assert opened.modem.functional_mode() == 1
            opened.reset()
            assert opened.identify().modem_version == "mfw_nrf91x1_2.0.2"


# --- secrets ---------------------------------------------------------------------------------------------------


def test_a_whole_job_with_a_presigned_url_shows_none_of_its_secrets_at_any_level(
    bench: Bench, tmp_path: Path
) -> None:
    """A process of its own, so that all that it writes is seen."""
    image = bench.samples.application("2.0.0")
    bench.cloud.images.publish(image, presigned_only=True)
    url = bench.cloud.images.presigned_url(image.name)
    thing = bench.thing.thing_name
    document = {"location": {"url": url}, **image_facts(image), "operation": "app_fw_update"}
    bench.cloud.jobs.create_job("presigned", thing, document)
    command = [sys.executable, "-m", "bridge", "-vv", *bench.run_arguments()]
    key = bench.thing.key_file
    key.chmod(0o644)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    key.chmod(0o600)
    assert done.returncode == 0, done.stderr[-2000:]
    execution = bench.cloud.jobs.describe_execution("presigned", thing)
    assert execution.status == "SUCCEEDED"
    everything = done.stdout + done.stderr + str(execution.status_details)
    for cached in bench.cache_dir.iterdir():
        everything += cached.name + (
            "" if cached.suffix == ".image" else cached.read_bytes().decode("latin-1")
        )
    assert "urllib3" in done.stderr  # their log is there
    assert "bridge.board.at_client" in done.stderr
    signature = re.search(r"X-Amz-Signature=(\w+)", url)
    assert signature is not None
    assert signature[1] not in everything
    key_lines = [line for line in key.read_text().splitlines() if "-----" not in line]
    assert not any(line in everything for line in key_lines)
    assert f"the private key {key} is open to other users" in done.stderr


def test_a_refused_download_leaves_no_thread_behind(bench: Bench) -> None:
    code, _ = bench.run_job(
        bench.document(bench.samples.application("2.0.0")), "--allow-host", "nowhere.example"
    )
    assert code == 5
    assert not [thread for thread in threading.enumerate() if thread.name == "download"]
