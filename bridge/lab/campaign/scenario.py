"""What a run updates, and how: kinds of images, routes, boards, and the ladder of versions that a board climbs."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bridge.errors import UsageError
from bridge.fota.choose_route import Transport
from bridge.image.app_delta_create import create_app_delta
from bridge.image.application_file import read_application
from bridge.lab.sample_bootloader_package import bootloader_package
from bridge.lab.sample_images import SampleImages
from bridge.virtual.bootloader_options import BootloaderOptions, RecoveryEntry
from bridge.virtual.serial_modem_options import SerialModemOptions
from bridge.virtual.smp_options import SmpOptions

APPLICATION_BYTES: Final = 16 * 1024
_DELTA_BYTES: Final = 12 * 1024
_APPLICATIONS: Final = ("1.0.0", "2.0.0", "3.0.0", "4.0.0")
_MODEMS: Final = ("2.0.2", "2.0.3", "2.0.4", "2.0.5")
_BOOTLOADERS: Final = ("1", "2", "3", "4")


@dataclass(frozen=True)
class Scenario:
    """One kind of image on one route.

    Attributes:
        route: ``xdfu``, ``smp``, ``recovery`` or ``modem-smp``.
        kind: Kind of the image, and what else is special.
        versions: What the board runs at first, and after one, two and three updates.
        transport: What the bridge is told.
        firmware: Personality of the board.
        board: More options of the board.
        recovery: The bridge leads the board into MCUboot's recovery first.
        flow_control: Both ends use RTS/CTS.
        transfer_baud: Rate of the transfer.
        reverts: Nobody confirms the image of the first job, so that MCUboot goes back.
    """

    route: str
    kind: str
    versions: tuple[str, str, str, str] = _APPLICATIONS
    transport: Transport = Transport.XDFU
    firmware: str = "serial-modem"
    board: dict[str, Any] = field(default_factory=dict)
    recovery: bool = False
    flow_control: bool = True
    transfer_baud: int | None = 1_000_000
    reverts: bool = False

    @property
    def name(self) -> str:
        """Route and kind."""
        return f"{self.route}/{self.kind}"

    @property
    def part(self) -> str:
        """Which part of the board is updated: ``application``, ``modem`` or ``bootloader``."""
        return {_APPLICATIONS: "application", _MODEMS: "modem", _BOOTLOADERS: "bootloader"}[self.versions]

    @property
    def in_place(self) -> bool:
        """Whether an update destroys what runs before the new firmware is whole."""
        return self.kind.startswith("modem-full") or self.name == "recovery/application"

    @property
    def operation(self) -> str:
        """For the job document."""
        return "modem_fw_update" if self.part == "modem" else "app_fw_update"


def _recovery(**options: Any) -> dict[str, Any]:
    entries = frozenset((RecoveryEntry.BOOT_MODE, RecoveryEntry.NO_APPLICATION))
    return {
        "smp": SmpOptions(boot_mode=True),
        "bootloader": BootloaderOptions(entries, params=True, **options),
    }


_XDFU: Final = (
    Scenario("xdfu", "application"),
    Scenario("xdfu", "application-slow", flow_control=False, transfer_baud=None),
    Scenario("xdfu", "application-unconfirmed", reverts=True),
    Scenario("xdfu", "app-delta"),
    Scenario("xdfu", "modem-delta", _MODEMS),
    Scenario("xdfu", "modem-full", _MODEMS, board={"serial_modem": SerialModemOptions(True, True)}),
    Scenario("xdfu", "modem-full-silent", _MODEMS, board={"serial_modem": SerialModemOptions(True, False)}),
    Scenario("xdfu", "bootloader", _BOOTLOADERS),
)
_SMP: Final = tuple(
    Scenario(
        route,
        kind,
        transport=Transport.SMP,
        firmware="smp",
        recovery=recovery,
        board=board,
        reverts=kind == "application-unconfirmed",
    )
    for route, kind, recovery, board in (
        ("smp", "application", False, {}),
        ("smp", "application-unconfirmed", False, {}),
        ("smp", "app-delta", False, {}),
        ("recovery", "application", True, _recovery()),
        (
            "recovery",
            "application-direct",
            True,
            _recovery(direct_upload=True, image_state=True, slot_info=True),
        ),
    )
)
_MODEM_SMP: Final = Scenario("modem-smp", "modem-full", _MODEMS, Transport.MODEM_SMP, "fmfu")
SCENARIOS: Final = (*_XDFU, *_SMP, _MODEM_SMP)
ROUTES: Final = tuple(dict.fromkeys(scenario.route for scenario in SCENARIOS))
KINDS: Final = tuple(dict.fromkeys(scenario.kind for scenario in SCENARIOS))


def choose(route: str | None = None, kind: str | None = None) -> tuple[Scenario, ...]:
    """The scenarios of a route, a kind, both or all.

    Raises:
        UsageError: There is none.
    """
    chosen = tuple(each for each in SCENARIOS if route in {None, each.route} and kind in {None, each.kind})
    if not chosen:
        raise UsageError(
            f"no update of a campaign goes by route {route} with kind {kind}",
            reason="unknown-scenario",
            hint=f"There are: {', '.join(each.name for each in SCENARIOS)}.",
        )
    return chosen


@dataclass(frozen=True)
class Step:
    """One update: the file that leads from a version to the next one.

    Attributes:
        file_name: Name of the file.
        content: The file.
        version: Where it leads.
    """

    file_name: str
    content: bytes
    version: str

    @property
    def sha256(self) -> str:
        """Digest of the file."""
        return hashlib.sha256(self.content).hexdigest()


class Images:
    """All files of all scenarios; they are the same in every run.

    Args:
        directory: Where they are built.
    """

    def __init__(self, directory: Path) -> None:
        self._samples = SampleImages(directory)
        self.public_key_pem = self._samples.public_key_pem
        self._applications = {
            version: self._samples.application(
                version, size_bytes=APPLICATION_BYTES, like=None if version == "1.0.0" else "1.0.0"
            )
            for version in _APPLICATIONS
        }
        self._unconfirmed = self._samples.application(
            _APPLICATIONS[1], size_bytes=APPLICATION_BYTES, behaviour={"confirm": False}
        )
        self._steps: dict[tuple[str, str], Step] = {}

    def application(self, version: str) -> bytes:
        """An application as MCUboot starts it."""
        return self._applications[version].read_bytes()

    @property
    def applications(self) -> Iterator[tuple[str, bytes]]:
        """Every application that a board can run, with its version."""
        for version, path in self._applications.items():
            yield version, path.read_bytes()
        yield _APPLICATIONS[1], self._unconfirmed.read_bytes()

    def application_path(self, version: str) -> Path:
        """The same as a file."""
        return self._applications[version]

    def unconfirmed_step(self) -> Step:
        """The first update with an application that does not confirm itself."""
        path = self._unconfirmed
        return Step(path.name, path.read_bytes(), _APPLICATIONS[1])

    def step(self, scenario: Scenario, running: str | None) -> Step:
        """The update of a board that runs a version; of one that runs nothing any more, the first one."""
        versions = scenario.versions
        number = versions.index(running) if running in versions else 0
        base, version = versions[number], versions[number + 1]
        key = (scenario.name, version)
        if key not in self._steps:
            path = self._build(scenario, base, version)
            self._steps[key] = Step(path.name, path.read_bytes(), version)
        return self._steps[key]

    def _build(self, scenario: Scenario, base: str, version: str) -> Path:
        samples = self._samples
        if scenario.kind == "app-delta":
            return self._delta(base, version)
        if scenario.kind == "modem-delta":
            return samples.modem_delta(base, version, size_bytes=_DELTA_BYTES)
        builders: dict[str, Callable[[], Path]] = {
            "application": lambda: self._applications[version],
            "modem": lambda: (
                samples.modem_package(version)
                if scenario.route == "modem-smp"
                else samples.modem_full(version)
            ),
            "bootloader": lambda: bootloader_package(samples, samples.directory, int(version)),
        }
        return builders[scenario.part]()

    def _delta(self, base: str, version: str) -> Path:
        old, new = (read_application(self._applications[each]) for each in (base, version))
        path = self._samples.directory / f"app-{base}-to-{version}.delta"
        path.write_bytes(create_app_delta(old, new))
        return path
