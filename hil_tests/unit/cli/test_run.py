"""``run``: configuration, endpoints, and what it refuses."""

import sys
from pathlib import Path

import pytest

from bridge.cli.app import run
from bridge.cli.broker_options import split_endpoint
from bridge.cli.download_options import default_cache_dir
from bridge.errors import UsageError

_LOGIN = ("--endpoint", "host", "--cert", "a.pem", "--key", "a.key")


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("THING", "ENDPOINT", "CERT", "PRIVATE_KEY", "PORT", "CLIENT_ID"):
        monkeypatch.delenv(f"NRF91_BRIDGE_{name}", raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("abc-ats.iot.eu-central-1.amazonaws.com", ("abc-ats.iot.eu-central-1.amazonaws.com", 8883)),
        ("127.0.0.1:443", ("127.0.0.1", 443)),
    ],
)
def test_an_endpoint_is_a_host_and_maybe_a_port(text: str, endpoint: tuple[str, int]) -> None:
    assert split_endpoint(text) == endpoint


@pytest.mark.parametrize("text", ["host:", "host:mqtt", "host:0", "host:70000"])
def test_an_endpoint_with_an_impossible_port_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="port"):
        split_endpoint(text)


def test_downloads_are_kept_in_the_users_cache() -> None:
    assert "nrf91-bridge" in default_cache_dir().parts


def test_without_a_thing_it_says_what_is_needed(
    clean_environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clean_environment.setattr(sys, "argv", ["nrf91-bridge", "run"])
    assert run() == 2
    assert "--endpoint" in capsys.readouterr().err


def test_a_configuration_gives_defaults_and_the_command_line_wins(
    clean_environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "bench.toml"
    config.write_text('thing = "from-file"\nendpoint = "host:bad"\ncert = "a.pem"\nkey = "a.key"\n')
    clean_environment.setattr(sys, "argv", ["nrf91-bridge", "run", "--config", str(config)])
    assert run() == 2
    assert "host:bad" in capsys.readouterr().err
    clean_environment.setattr(
        sys, "argv", ["nrf91-bridge", "run", "--config", str(config), "--endpoint", "other:bad"]
    )
    assert run() == 2
    assert "other:bad" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "complaint"),
    [("thign = 'x'\n", "thign"), ("this is no TOML", "cannot read"), (None, "cannot read")],
)
def test_a_configuration_that_makes_no_sense_is_refused(
    clean_environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: str | None,
    complaint: str,
) -> None:
    config = tmp_path / "bench.toml"
    if content is not None:
        config.write_text(content)
    clean_environment.setattr(sys, "argv", ["nrf91-bridge", "run", "--config", str(config)])
    assert run() == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--gateway", "a=/dev/x", "--thing", "b"], "stands instead of --thing"),
        (["--gateway", "a=/dev/x", "--port", "/dev/y"], "stands instead of --thing"),
        (["--gateway", "a=/dev/x"], "--client-id"),
        (["--client-id", "c", "--gateway", "a"], "THING=PORT"),
        (["--client-id", "c", "--gateway", "=/dev/x"], "THING=PORT"),
        (["--client-id", "c", "--gateway", "a=/dev/x", "--gateway", "a=/dev/y"], "thing a twice"),
        (["--client-id", "c", "--gateway", "a=/dev/x", "--gateway", "b=/dev/x"], "port /dev/x twice"),
        (["--client-id", "c", *(f"--gateway=t{n}=/dev/{n}" for n in range(11))], "10 things"),
        (["--thing", "a", "--keep-alive", "29", *_LOGIN], "keep alive of 29"),
        (["--thing", "a", "--keep-alive", "1201", *_LOGIN], "keep alive of 1201"),
        (["--thing", "a", "--jobs-over", "https", "--jobs-https", "host:x", *_LOGIN], "no valid port"),
    ],
)
def test_settings_of_the_connection_that_make_no_sense_are_refused(
    clean_environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    clean_environment.setattr(sys, "argv", ["nrf91-bridge", "run", *arguments])
    assert run() == 2
    assert complaint in " ".join(capsys.readouterr().err.split())
