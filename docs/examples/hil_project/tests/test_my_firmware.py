"""What a product promises, tried on its board."""

import pytest


def test_it_answers(board):
    assert board.at("AT+CGMI") == ["Nordic Semiconductor ASA"]


def test_a_job_updates_it_and_the_cloud_knows(board, nrf91_deploy, nrf91_images):
    done = nrf91_deploy(nrf91_images.newer).work()
    assert done.status == "SUCCEEDED", done.reason
    board.reset()
    assert board.version() == done.cloud.details["running_version"]


def test_a_file_updates_it_without_any_cloud(board, nrf91_update, nrf91_images):
    story = nrf91_update(nrf91_images.newer)
    assert story.outcome == "succeeded", story.finished.message
    assert story.attempts == 1


@pytest.mark.parametrize("bad", ["corrupted", "unsigned", "wrong_key"])
def test_it_never_runs_bad_firmware(board, nrf91_update, nrf91_images, bad):
    before = board.version()
    assert nrf91_update(getattr(nrf91_images, bad)).outcome != "succeeded"
    assert board.version() == before


@pytest.mark.nrf91_power
def test_it_survives_a_power_cycle(board):
    before = board.version()
    board.release()
    board.power.cycle()
    assert board.version() == before


def test_a_pulled_cable_is_no_drama(board, nrf91_faults, nrf91_update, nrf91_images):
    def pull(event):
        if getattr(event, "done_bytes", 0):
            nrf91_faults.unplug()

    story = nrf91_update(nrf91_images.newer, on_event=pull)
    assert (story.outcome, story.error.stage) == ("failed", "transfer")
    nrf91_faults.plug()
    assert nrf91_update(nrf91_images.newer).outcome == "succeeded"


def test_it_says_when_it_is_ready(board, nrf91_log):
    since = nrf91_log.mark()
    board.reset()
    nrf91_log.wait_for(r"Ready\r\n", timeout_s=30, since=since)
