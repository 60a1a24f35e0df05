"""Typed commands of the nRF91 modem and of the Serial Modem application.

Sources: Nordic's nRF91 AT command reference (reply shapes), ncs-serial-modem ``doc/app/at_generic.rst`` and
``app/src/sm_at_commands.c`` (``#X`` commands).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeVar

from bridge.board.at_client import AtClient
from bridge.errors import BoardRefusedError, LinkError
from bridge.wire.at import split_fields

QUESTION_TIMEOUT_S: Final = 5.0
FUNCTIONAL_MODE_TIMEOUT_S: Final = 30.0
"""Leaving the network takes seconds."""


_T = TypeVar("_T")


class FunctionalMode(IntEnum):
    """``+CFUN``: what the modem does; other values are passed through as plain numbers."""

    POWER_OFF = 0
    NORMAL = 1
    OFFLINE = 4


@dataclass(frozen=True)
class Registration:
    """``+CEREG``.

    Attributes:
        mode: Which URCs are on.
        status: 1 home, 5 roaming, 2 searching, 0 and others not registered.
        tracking_area: Hexadecimal, or None.
        cell: Hexadecimal, or None.
        technology: 7 LTE-M, 9 NB-IoT, or None.
    """

    mode: int
    status: int
    tracking_area: str | None = None
    cell: str | None = None
    technology: int | None = None

    @property
    def registered(self) -> bool:
        """Home or roaming."""
        return self.status in (1, 5)


@dataclass(frozen=True)
class FirmwareVersion:
    """``#XSMVER`` or, on older firmware, ``#XSLMVER``.

    Attributes:
        command: Which of the two answered.
        version: The application's version; of ``#XSLMVER`` the first field is that of the SDK.
        fields: All fields of the answer.
    """

    command: str
    version: str
    fields: tuple[str, ...]

    @property
    def is_own(self) -> bool:
        """Whether :attr:`version` is the application's own, and not its SDK's."""
        return self.command == "#XSMVER"


class Modem:
    """Typed commands; every method raises what ``AtClient.command`` raises."""

    def __init__(self, at: AtClient) -> None:
        self._at = at

    def manufacturer(self) -> str:
        """``AT+CGMI``."""
        return self._text("AT+CGMI")

    def model(self) -> str:
        """``AT+CGMM``, such as ``nRF9151-LACA``."""
        return self._text("AT+CGMM")

    def version(self) -> str:
        """``AT+CGMR``: modem firmware, such as ``mfw_nrf91x1_2.0.2``."""
        return self._text("AT+CGMR")

    def short_version(self) -> str:
        """``AT%SHORTSWVER``: modem firmware, such as ``nrf91x1_2.0.2``."""
        return self._text("AT%SHORTSWVER")

    def hardware_version(self) -> str:
        """``AT%HWVERSION``, such as ``nRF9151 LACA ADA``."""
        return self._text("AT%HWVERSION")

    def imei(self) -> str:
        """``AT+CGSN``: 15 digits; asked once more when noise seems to have changed one."""
        imei = self._text("AT+CGSN")
        if _has_check_digit(imei):
            return imei
        self._at.settle()
        return self._text("AT+CGSN")

    def modem_uuid(self) -> str:
        """``AT%XMODEMUUID``: identifies the build of the modem firmware."""
        return self._text("AT%XMODEMUUID")

    def device_uuid(self) -> str:
        """``AT%DEVICEUUID``."""
        return self._text("AT%DEVICEUUID")

    def functional_mode(self) -> int:
        """``AT+CFUN?``."""
        return self._number("AT+CFUN?")

    def set_functional_mode(self, mode: int) -> None:
        """``AT+CFUN=<mode>``; leaving the network takes seconds."""
        self._at.command_again(f"AT+CFUN={mode:d}", timeout_s=FUNCTIONAL_MODE_TIMEOUT_S)

    def registration(self) -> Registration:
        """``AT+CEREG?``."""
        return self._ask("AT+CEREG?", _registration)

    def subscribe_registration(self, mode: int) -> None:
        """``AT+CEREG=<mode>``."""
        self._at.command(f"AT+CEREG={mode:d}")

    def monitor(self) -> tuple[str, ...]:
        """``AT%XMONITOR``: registration status and, when registered, operator, cell and signal; as fields."""
        return self._ask("AT%XMONITOR", tuple)

    def battery_mv(self) -> int:
        """``AT%XVBAT``: supply voltage in millivolt."""
        return self._number("AT%XVBAT")

    def temperature_c(self) -> int:
        """``AT%XTEMP?``: degrees Celsius."""
        return self._number("AT%XTEMP?")

    def error_mode(self) -> int:
        """``AT+CMEE?``: 1 when errors come with a number."""
        return self._number("AT+CMEE?")

    def set_error_mode(self, mode: int) -> None:
        """``AT+CMEE=<mode>``."""
        self._at.command(f"AT+CMEE={mode:d}")

    def firmware_version(self) -> FirmwareVersion:
        """``AT#XSMVER``, or ``AT#XSLMVER`` on older firmware."""
        try:
            fields = self._ask("AT#XSMVER", tuple)
        except BoardRefusedError:
            fields = self._ask("AT#XSLMVER", tuple)
            return FirmwareVersion("#XSLMVER", fields[0], fields)
        return FirmwareVersion("#XSMVER", fields[0], fields)

    def bootloader_version(self) -> int:
        """``AT#XBOOTINFO=0``: monotonic version of the running MCUboot."""
        return self._number("AT#XBOOTINFO=0")

    def bootloader_slot(self) -> int:
        """``AT#XBOOTINFO=1``: 0 when MCUboot runs from s0, 1 from s1."""
        return self._number("AT#XBOOTINFO=1")

    def dfu_types(self) -> frozenset[int]:
        """``AT#XDFUINIT=?``: types of images that the firmware takes by ``#XDFU``; also answered in bootloader mode."""
        return self._ask("AT#XDFUINIT=?", _dfu_types)

    def delta_area(self) -> tuple[int, int]:
        """``AT#XFOTA=7``: size of the modem's update area in bytes, and how far it is filled."""
        return self._ask("AT#XFOTA=7", _size_and_offset)

    def _text(self, command: str) -> str:
        return self._ask(command, ",".join)

    def _number(self, command: str) -> int:
        return self._ask(command, lambda fields: _integer(fields[0]))

    def _ask(self, command: str, understand: Callable[[list[str]], _T]) -> _T:
        """Ask once more when noise made nonsense of the answer; questions may be repeated."""
        try:
            return understand(self._fields(command))
        except LinkError as error:
            if error.reason != "bad-answer":
                raise
        self._at.settle()
        return understand(self._fields(command))

    def _fields(self, command: str) -> list[str]:
        lines = self._at.command_again(command, timeout_s=QUESTION_TIMEOUT_S)
        if not lines:
            raise LinkError(f"the answer to {command} is empty", reason="bad-answer")
        name = re.sub(r"[?=].*", "", command[2:])
        _check_is_answer_to(name, lines[0])
        return split_fields(lines[0].removeprefix(f"{name}:"))


_BARE_ANSWERS: Final = {
    "+CGSN": re.compile(r"\d{15}"),
    "+CGMR": re.compile(r"mfw_\S+"),
    "+CGMM": re.compile(r"nRF9\S+"),
    "+CGMI": re.compile(r"Nordic Semiconductor ASA"),
}
"""Answers that do not begin with the name of their command."""


def _check_is_answer_to(name: str, line: str) -> None:
    """Answers bear no number; but what certainly is the answer to another question is not taken for one to this.

    Raises:
        LinkError: It is (``bad-answer``).
    """
    head, colon, _ = line.partition(": ")
    other = colon and head[:1] in "+%#" and head != name
    others = (pattern for owner, pattern in _BARE_ANSWERS.items() if owner != name)
    if other or any(pattern.fullmatch(line) for pattern in others):
        raise LinkError(f"the board answered AT{name} with {line!r}", reason="bad-answer")


def _has_check_digit(imei: str) -> bool:
    """Whether this is 15 digits of which the last one is right (3GPP TS 23.003, annex B)."""
    if not re.fullmatch(r"\d{15}", imei):
        return False
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in imei[1::2])
    return (doubled + sum(int(digit) for digit in imei[::2])) % 10 == 0


def _registration(fields: list[str]) -> Registration:
    mode, status, area, cell, technology = [*fields, "", "", "", ""][:5]
    return Registration(
        mode=_integer(mode),
        status=_integer(status),
        tracking_area=area or None,
        cell=cell or None,
        technology=int(technology) if re.fullmatch(r"[0-9]{1,3}", technology) else None,
    )


def _dfu_types(fields: list[str]) -> frozenset[int]:
    # (0,1,2),<size>
    types = frozenset(int(number) for field in fields for number in re.findall(r"[0-9]{1,9}", field))
    if not types:
        raise LinkError(f"the board gave no image types but {','.join(fields)!r}", reason="bad-answer")
    return types


def _size_and_offset(fields: list[str]) -> tuple[int, int]:
    size, offset = [*fields, ""][:2]
    return _integer(size), _integer(offset)


def _integer(field: str) -> int:
    try:
        return int(field)
    except ValueError as error:
        raise LinkError(
            f"the board gave {field!r} where a number was expected", reason="bad-answer"
        ) from error
