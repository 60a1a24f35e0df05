"""Options about what may be installed and when; shared by ``flash`` and ``run``, and what they are turned into."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.errors import UsageError

if TYPE_CHECKING:
    from bridge.fota import Policy
    from bridge.fota.window import Admission

ImageKeysOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--image-key",
        envvar="NRF91_BRIDGE_KEY",
        exists=True,
        dir_okay=False,
        help="Public key (PEM) that images for MCUboot must be signed with; if repeated, with one of them.",
    ),
]
FlashKeysOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--image-key",
        "--key",
        envvar="NRF91_BRIDGE_KEY",
        exists=True,
        dir_okay=False,
        help="Public key (PEM) that the image must be signed with; if repeated, with one of them.",
    ),
]
SameVersionOption = Annotated[
    bool, typer.Option("--allow-same-version", help="Install the version again that the board already runs.")
]
DowngradeOption = Annotated[
    bool, typer.Option("--allow-downgrade", help="Send an image older than the running one.")
]
SlotSizeOption = Annotated[
    int | None,
    typer.Option(
        "--slot-size",
        envvar="NRF91_BRIDGE_SLOT_SIZE",
        min=1,
        help="Size in bytes of the slot for the application, if its partitions are not the standard build's;"
        " the image must leave MCUboot's trailer free.",
    ),
]
MaxSizeOption = Annotated[
    int | None,
    typer.Option(
        "--max-size",
        envvar="NRF91_BRIDGE_MAX_SIZE",
        min=1,
        help="Refuse larger files, in bytes; default: 256 MiB.",
    ),
]
MinVoltageOption = Annotated[
    int,
    typer.Option(
        "--min-voltage",
        envvar="NRF91_BRIDGE_MIN_VOLTAGE",
        min=0,
        help="Supply voltage in mV (%XVBAT) that a modem update needs; 0 asks for nothing.",
    ),
]
VoltageWaitOption = Annotated[
    float,
    typer.Option(
        "--voltage-wait",
        envvar="NRF91_BRIDGE_VOLTAGE_WAIT",
        min=0,
        help="Seconds to wait for that voltage before the update is given up.",
    ),
]
Sha256Option = Annotated[
    bool,
    typer.Option("--require-sha256", help="Refuse jobs whose document does not tell the image's SHA-256."),
]
WindowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--window",
        help='When jobs may be taken, such as "Mon-Fri 22:00-05:00 Europe/Berlin"; may be repeated; default: always.',
    ),
]

DEFAULT_MIN_VOLTAGE_MV = 3_100
DEFAULT_VOLTAGE_WAIT_S = 600.0


@dataclass(frozen=True)
class PolicyOptions:
    """What may be installed.

    Attributes:
        allow_same_version: Also the version that the board runs.
        allow_downgrade: Also an older one.
        slot_size: Size of the slot for the application, in bytes.
        max_size: Largest file, in bytes.
        min_voltage: Supply voltage in mV that a modem update needs.
        voltage_wait: Seconds to wait for it.
    """

    allow_same_version: SameVersionOption = False
    allow_downgrade: DowngradeOption = False
    slot_size: SlotSizeOption = None
    max_size: MaxSizeOption = None
    min_voltage: MinVoltageOption = DEFAULT_MIN_VOLTAGE_MV
    voltage_wait: VoltageWaitOption = DEFAULT_VOLTAGE_WAIT_S

    def policy(
        self, keys: Sequence[Path] | None, *, strict: bool = False, require_sha256: bool = False
    ) -> "Policy":
        """Build the policy that the options describe.

        Args:
            keys: Public keys (PEM); an image must be signed with one of them.
            strict: Refuse an image whose version is not the job document's.
            require_sha256: Refuse jobs whose document does not tell the image's SHA-256.

        Raises:
            UsageError: A key file cannot be read, or holds no key.
        """
        from bridge.fota.policy import Policy  # noqa: PLC0415
        from bridge.fota.supply import SupplyRules  # noqa: PLC0415

        return Policy(
            allow_same_version=self.allow_same_version,
            allow_downgrade=self.allow_downgrade,
            strict_version=strict,
            public_keys_pem=tuple(read_key(path) for path in keys or ()),
            require_sha256=require_sha256,
            max_size_bytes=self.max_size,
            slot_size_bytes=self.slot_size,
            supply=SupplyRules(minimum_mv=self.min_voltage, wait_s=self.voltage_wait),
        )


def make_admission(windows: Sequence[str] | None) -> "Admission":
    """Build what decides when jobs are taken.

    Raises:
        UsageError: A window makes no sense.
    """
    from bridge.fota.window import Admission, parse_window  # noqa: PLC0415

    return Admission([parse_window(text) for text in windows or ()])


def read_key(path: Path) -> bytes:
    """Read a key that images are signed with; a private one (its public part counts) is warned about if others may read it.

    Raises:
        UsageError: It cannot be read, or is no such key (reason ``bad-key``).
    """
    from bridge.image.signature import load_public_key  # noqa: PLC0415
    from bridge.secret_files import warn_if_open_private_key  # noqa: PLC0415

    try:
        pem = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read the key {path}: {error.strerror or error}", reason="bad-key"
        ) from error
    try:
        load_public_key(pem)
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", reason=error.reason, hint=error.hint) from error
    warn_if_open_private_key(path, pem)
    return pem
