"""bench.toml: what it becomes, and what is said about mistakes in it."""

from pathlib import Path

import pytest

from bridge.board.power import CommandPower, UhubctlPower, VirtualPower
from bridge.board.socket_power import SocketPower
from bridge.errors import UsageError
from bridge.fota.bench_file import BenchBoard, BoardCredentials, read_bench
from bridge.fota.choose_route import Transport

WHOLE = """
name = "rack 3"

[cloud]
endpoint = "broker.example.com:8883"
ca = "ca.pem"
download_ca = "images.pem"

[defaults]
cert = "certs/{name}.crt"
key = "certs/{name}.key"
groups = ["all"]

[boards.1051202303]
name = "left"
thing = "left-thing"
model = "nrf9151dk"
power = { kind = "uhubctl", hub = "1-1.4", port = 2, off_time = 1 }

[boards.THINGY91X-7]
port = "/dev/ttyACM7"
thing = "x"
ca = "/etc/other.pem"
cert = "x.crt"
key = "x.key"
flow_control = false
transport = "smp"
transfer_baud = 0
groups = ["all", "smp"]
[boards.THINGY91X-7.power]
kind = "command"
on = "relay 3 on"
off = ["relay", "3", "off"]

[boards.virtual-1]
port = "virtual://nrf9151dk?name=v1"
power = { kind = "virtual" }

[boards.virtual-2]
port = "./v2"
power = { kind = "virtual", control = "v2.control" }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "bench.toml"


def test_whole_file_becomes_values_with_paths_beside_it(file: Path) -> None:
    file.write_text(WHOLE)

    bench = read_bench(file)

    there = file.parent
    assert (bench.name, bench.endpoint) == ("rack 3", "broker.example.com:8883")
    assert bench.download_ca_file == there / "images.pem"
    left, other, virtual, distant = bench.boards
    assert left == BenchBoard(
        "left",
        "1051202303",
        model="nrf9151dk",
        thing="left-thing",
        credentials=BoardCredentials(there / "ca.pem", there / "certs/left.crt", there / "certs/left.key"),
        power=UhubctlPower("1-1.4", 2, off_s=1),
        groups=frozenset({"all"}),
    )
    assert (other.name, other.port, other.transport, other.transfer_baud, other.flow_control) == (
        *("THINGY91X-7", "/dev/ttyACM7", Transport.SMP, None, False),
    )
    assert other.credentials == BoardCredentials(Path("/etc/other.pem"), there / "x.crt", there / "x.key")
    assert isinstance(other.power, CommandPower)
    assert (other.power.on_command, other.power.off_command) == ("relay 3 on", ("relay", "3", "off"))
    assert (other.power.directory, other.power.environment["NRF91_BRIDGE_BOARD"]) == (there, "THINGY91X-7")
    assert isinstance(virtual.power, VirtualPower)
    assert (distant.port, distant.power) == (str(there / "v2"), SocketPower(there / "v2.control"))


def test_power_of_a_virtual_board_is_its_own_switch(file: Path) -> None:
    file.write_text(
        "[boards.v]\nport='virtual://nrf9151dk?firmware=at_client&name=bench-file-v'\npower={kind='virtual'}"
    )
    from bridge.virtual import registry  # noqa: PLC0415

    power = read_bench(file).boards[0].power
    assert power is not None
    power.off()

    board = registry.board("bench-file-v")
    try:
        board.wait_for_event("power-off")
    finally:
        registry.unregister("bench-file-v")
        board.stop()


def test_boards_are_chosen_by_name_number_and_group(file: Path) -> None:
    file.write_text(WHOLE)
    bench = read_bench(file)
    left, other, virtual, _ = bench.boards

    assert bench.board("left") is bench.board("1051202303") is bench.board("2303") is left
    assert bench.select() == bench.boards
    assert bench.select(groups=["smp"]) == (other,)
    assert bench.select(["virtual-1"], ["smp"]) == (other, virtual)
    with pytest.raises(UsageError, match="no single board right"):
        bench.board("right")
    with pytest.raises(UsageError, match="no board in the group night") as caught:
        bench.select(groups=["night"])
    assert caught.value.hint == "Its groups are all, smp."


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "the top level has no boards", "[boards.SERIALNUMBER]"),
        ("[board.1]", "the top level does not know the key board", "boards?"),
        ("[boards.1]\nbuad = 1", "[boards.1] does not know the key buad", "Did you mean baud?"),
        ("[boards.1]\nzzz = 1", "[boards.1] does not know the key zzz", "Known keys there: baud, ca,"),
        ("[boards.1]\nbaud = '9600'", "[boards.1] baud must be a whole number", "docs/bench.md"),
        ("[boards.1]\nbaud = true", "[boards.1] baud must be a whole number", "docs/bench.md"),
        ("[boards.1]\nflow_control = 1", "[boards.1] flow_control must be true or false", "docs/bench.md"),
        ("[boards.1]\nport = ''", "[boards.1] port must not be empty", "docs/bench.md"),
        ("[boards.1]\nmodel = 'nrf52'", "[boards.1] model must be one of 'nrf9160dk'", "docs/bench.md"),
        ("[boards.1]\ngroups = ['a', 3]", "[boards.1] groups must be text", "docs/bench.md"),
        ("[boards.1]\ncert = 'x'", "[boards.1] cert and key are only of use together", "docs/bench.md"),
        ("[boards.'a b']", "[boards.a b] is no serial number", "letters, digits"),
        (
            "[boards.1]\n[boards.001]",
            "[boards.001] has the serial number of [boards.1]",
            "Give each its own.",
        ),
        ("[boards.1]\nthing='t'\n[boards.2]\nthing='t'", "[boards.2] has the thing of [boards.1]", "own"),
        ("[boards.1]\nport='p'\n[boards.2]\nport='p'", "[boards.2] has the port of [boards.1]", "own"),
        ("[boards.1]\nname='2'\n[boards.2]", "[boards.2] has the name of [boards.1]", "own"),
        ("[cloud]\nendpont='a'\n[boards.1]", "[cloud] does not know the key endpont", "endpoint?"),
        ("[defaults]\nport='a'\n[boards.1]", "[defaults] port cannot be the same", "Move it to the boards."),
        ("[defaults]\nbuad=1\n[boards.1]", "[defaults] does not know the key buad", "docs/bench.md"),
        ("defaults=1\n[boards.1]", "the top level defaults must be a table", "[defaults]"),
        ("[boards.1]\npower={kind='relay'}", "[boards.1] power must have as kind one of", "docs/bench.md"),
        ("[boards.1]\npower={kind='command',on='x'}", "[boards.1.power] off is missing", "docs/bench.md"),
        (
            "[boards.1]\npower={kind='uhubctl',hub='x',port=1}",
            "[boards.1.power] hub must be the location",
            "",
        ),
        (
            "[boards.1]\npower={kind='uhubctl',hub='1-1',prt=1}",
            "[boards.1.power] does not know the key prt",
            "port?",
        ),
        (
            "[boards.1]\npower={kind='virtual'}",
            '[boards.1] power of kind "virtual" needs a port',
            "docs/bench.md",
        ),
        ("x = [", "is no TOML", ""),
    ],
)
def test_mistakes_name_file_table_and_key_and_what_to_do(
    file: Path, text: str, message: str, hint: str
) -> None:
    file.write_text(text)

    with pytest.raises(UsageError) as caught:
        read_bench(file)

    assert (caught.value.exit_code, caught.value.reason) == (2, "bad-bench")
    assert str(file) in caught.value.message
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_missing_file_is_told(file: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the bench file"):
        read_bench(file)


def test_port_that_is_a_link_beside_the_file_is_found_there(file: Path) -> None:
    file.write_text("[boards.1]\nport='./ports/left'\n[boards.2]\nport='COM3'")

    assert [board.port for board in read_bench(file).boards] == [str(file.parent / "ports/left"), "COM3"]
