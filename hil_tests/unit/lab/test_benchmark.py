"""The benchmark: its arithmetic, its cases and their parsing, and that a tiny run gives a complete table."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.cli.app import app
from bridge.errors import UsageError
from bridge.lab.benchmark import case as cases
from bridge.lab.benchmark import contestant
from bridge.lab.benchmark.case import Case, grid, parse_buffers, parse_case_uart
from bridge.lab.benchmark.ceiling import ceiling_of
from bridge.lab.benchmark.contestant import CONTESTANTS
from bridge.lab.benchmark.measure import Measurement
from bridge.lab.benchmark.report import rows
from bridge.lab.benchmark.routes import OURS, ROUTES, route_of
from bridge.virtual.uart_options import Reception, UartOptions

MEGABAUD = 1_000_000


# --- ceilings ----------------------------------------------------------------------------------------------


def test_flash_takes_a_page_in_one_erase_and_1024_words() -> None:
    assert ceiling_of(Case("xdfu")).flash == pytest.approx(4096 / (0.087 + 1024 * 43e-6))
    assert ceiling_of(Case("xdfu", ideal_flash=True)).flash == float("inf")


@pytest.mark.parametrize(
    ("baud", "ceiling"), [(115_200, 11_520.0), (460_800, 31_259.0), (MEGABAUD, 31_259.0)]
)
def test_the_ceiling_is_the_smaller_of_line_and_flash(baud: int, ceiling: float) -> None:
    assert ceiling_of(Case("xdfu", baud)).ceiling == pytest.approx(ceiling, rel=1e-4)


def test_what_the_board_allows_by_xdfu_is_the_line_hidden_in_four_stalls_of_512_bytes() -> None:
    page_s = 0.131032 + 4096 / 100_000 - 4 * 512 / 100_000
    assert ceiling_of(Case("xdfu")).reach == pytest.approx(4096 / page_s, rel=1e-3)
    slow_s = 0.131032 + 4096 / 11_520 - 512 / 11_520 - 3 * 0.011008
    assert ceiling_of(Case("xdfu", 115_200)).reach == pytest.approx(4096 / slow_s, rel=1e-3)


def test_larger_buffers_let_flash_be_the_only_limit() -> None:
    limits = ceiling_of(Case("xdfu", uart=UartOptions(buffer_bytes=2048)))
    assert limits.reach == pytest.approx(limits.flash)


@pytest.mark.parametrize("route", ["smp", "recovery"])
def test_the_framing_of_smp_leaves_about_two_thirds_of_the_line(route: str) -> None:
    assert 0.66 < ceiling_of(Case(route, ideal_flash=True)).line / 100_000 < 0.72


def test_messages_and_answers_cost_the_server_time_and_few_buffers_cost_overlap() -> None:
    case = Case("smp", uart=cases.BUFFERED_UART)
    limits = ceiling_of(case)
    assert limits.ceiling > limits.reach > 0.9 * limits.ceiling
    lock_step = ceiling_of(replace(case, smp=replace(case.smp, buffer_count=2)))
    assert lock_step.reach < 0.75 * limits.reach


def test_round_trips_limit_what_few_buffers_carry_over_a_slow_adapter() -> None:
    case = Case("smp", uart=cases.BUFFERED_UART, usb_latency_ms=16)
    assert ceiling_of(case).reach < 0.8 * ceiling_of(replace(case, usb_latency_ms=0)).reach


def test_a_formula_says_how_the_reach_comes_about() -> None:
    assert ceiling_of(Case("xdfu")).formula == "4096 / (131 ms flash + max(0, 41 ms line - 20 ms hidden))"


# --- cases -------------------------------------------------------------------------------------------------


def test_a_case_survives_its_way_into_another_process() -> None:
    for case in (Case("xdfu"), *cases.full(list(ROUTES))[-3:]):
        assert Case.from_dict(json.loads(json.dumps(case.to_dict()))) == case


def test_the_grids_hold_what_they_should_and_no_case_twice() -> None:
    everything = cases.full(list(ROUTES))
    assert len(set(everything)) == len(everything)
    assert {(case.route, case.baud, case.ideal_flash) for case in everything} == {
        (route, baud, ideal) for route in ROUTES for baud in cases.BAUDS for ideal in (True, False)
    }
    assert {case.usb_latency_ms for case in everything} == {0, 1, 4, 16}
    assert not [case for case in everything if case.faulty and case.route == "xdfu"]
    assert {case.route for case in cases.quick(list(ROUTES))} == set(ROUTES)


def test_damaged_cases_stand_behind_their_clean_ones() -> None:
    clean, damaged = grid(["smp"], bauds=(MEGABAUD,), sizes=(1024,), ideal=(True,), faults=True)
    assert (clean.faulty, damaged.faulty) == (False, True)
    assert replace(damaged, rx_rates=clean.rx_rates, tx_rates=clean.tx_rates) == clean
    assert damaged.rx_rates.chance == pytest.approx(1 / 20_000)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("dma", UartOptions()),
        ("dma:3x2048", UartOptions(buffer_bytes=2048)),
        ("fifo:no-rts", UartOptions(Reception.FIFO, flow_control=False)),
    ],
)
def test_uarts_are_read(text: str, options: UartOptions) -> None:
    assert parse_case_uart(text) == options


@pytest.mark.parametrize("text", ["pio", "dma:3x256:2x64", "dma:big"])
def test_uarts_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_case_uart(text)


def test_buffers_are_read_and_refused() -> None:
    assert parse_buffers("384x4") == (384, 4)
    for text in ("384", "x4", "384x0", "12x4"):
        with pytest.raises(UsageError):
            parse_buffers(text)


def test_every_contestant_of_a_route_is_known_and_ours_is_first() -> None:
    for name in ROUTES:
        contestants = route_of(name).contestants
        assert contestants[0] == OURS
        assert set(contestants) <= set(CONTESTANTS)
    with pytest.raises(UsageError):
        route_of("carrier-pigeon")


def test_pynrfjprog_gets_a_server_that_it_understands() -> None:
    case = Case("smp")
    assert case.for_contestant("pynrfjprog").smp.legacy_rc
    assert not case.for_contestant("smpclient").smp.legacy_rc


# --- rows --------------------------------------------------------------------------------------------------


def measured(case: Case, contestant: str, seconds: float, *, landed: bool = True) -> Measurement:
    return Measurement(case, contestant, 100_000, seconds, cpu_s=0.05, landed=landed)


def test_rows_compare_with_the_best_peer_and_with_the_time_without_damage() -> None:
    clean, damaged = grid(["smp"], bauds=(MEGABAUD,), sizes=(102_400,), ideal=(False,), faults=True)
    table = rows(
        [
            measured(clean, OURS, 4.0),
            measured(clean, "smpclient", 8.0),
            measured(clean, "smpmgr", 6.0),
            measured(clean, "mcumgr-toolkit", 1.0, landed=False),
            measured(damaged, OURS, 5.0),
        ]
    )
    assert table[0].to_best_peer == pytest.approx(1.5)
    assert table[0].measurement.cpu_s_per_mb == pytest.approx(0.5)
    assert table[0].measurement.cpu_load == pytest.approx(0.0125)
    assert table[0].of_ceiling == pytest.approx(25_000 / table[0].ceiling.ceiling)
    assert (table[3].measurement.ok, table[3].measurement.rate) == (False, 0.0)
    assert table[4].slowdown == pytest.approx(1.25)
    assert table[4].to_best_peer is None
    plain = table[3].to_dict()
    assert plain["error"] == "the image did not land"
    assert json.loads(json.dumps(plain)) == plain


# --- a run -------------------------------------------------------------------------------------------------


def test_a_tiny_run_gives_a_complete_table() -> None:
    arguments = [
        "bench",
        "--route",
        "xdfu",
        "--route",
        "smp",
        "--contestant",
        "bridge",
        "--contestant",
        "vendor",
    ]
    arguments += ["--contestant", "mcumgr-toolkit", "--size-kib", "16", "--flash", "ideal", "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [(event["route"], event["contestant"]) for event in events] == [
        ("xdfu", "bridge"),
        ("xdfu", "vendor"),
        ("smp", "bridge"),
        ("smp", "mcumgr-toolkit"),
    ]
    for event in events:
        assert event["ok"], event
        assert event["size_bytes"] == 16 * 1024
        assert 0 < event["of_ceiling"] <= 1.0
        assert event["bytes_per_s"] > 0
        assert event["cpu_s_per_mb"] > 0


def test_a_run_for_people_has_a_table_with_its_ceilings() -> None:
    done = CliRunner().invoke(
        app, ["bench", "--route", "recovery", "--contestant", "bridge", "--size-kib", "8", "--flash", "real"]
    )
    assert done.exit_code == 0, done.output
    assert "within reach" in done.stdout
    assert "bridge" in done.stdout


def test_a_contestant_that_fails_gives_its_reason(tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(bytes(1024))
    result = contestant.measure(
        "vendor", contestant.Assignment(Case("xdfu"), str(tmp_path / "no-port"), image)
    )
    assert "no-port" in str(result["error"])
    assert set(result) == {"seconds", "cpu_s", "error"}


def test_an_unknown_route_is_a_usage_error() -> None:
    assert CliRunner().invoke(app, ["bench", "--route", "smoke"]).exception is not None
