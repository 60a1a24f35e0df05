"""Typed commands of the nRF91 modem and of the Serial Modem application.

Sources: Nordic's nRF91 AT command reference (reply shapes), ncs-serial-modem ``doc/app/at_generic.rst`` and
``app/src/sm_at_commands.c`` (``#X`` commands).
"""

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from bridge.board.at_client import DEFAULT_TIMEOUT_S, AtClient
from bridge.errors import BoardRefusedError, LinkError
from bridge.wire.at import split_fields

FUNCTIONAL_MODE_TIMEOUT_S: Final = 30.0
"""Leaving the network takes seconds."""


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
        """``AT+CGSN``: 15 digits."""
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
        self._at.command(f"AT+CFUN={mode:d}", timeout_s=FUNCTIONAL_MODE_TIMEOUT_S)

    def registration(self) -> Registration:
        """``AT+CEREG?``."""
        fields = self._fields("AT+CEREG?")
        area, cell, technology = [*fields[2:5], "", "", ""][:3]
        return Registration(
            mode=_integer(fields[0]),
            status=_integer(fields[1]) if len(fields) > 1 else 0,
            tracking_area=area or None,
            cell=cell or None,
            technology=int(technology) if technology.isdigit() else None,
        )

    def subscribe_registration(self, mode: int) -> None:
        """``AT+CEREG=<mode>``."""
        self._at.command(f"AT+CEREG={mode:d}")

    def monitor(self) -> tuple[str, ...]:
        """``AT%XMONITOR``: registration status and, when registered, operator, cell and signal; as fields."""
        return tuple(self._fields("AT%XMONITOR"))

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
            fields = self._fields("AT#XSMVER")
        except BoardRefusedError:
            fields = self._fields("AT#XSLMVER")
            return FirmwareVersion("#XSLMVER", fields[0], tuple(fields))
        return FirmwareVersion("#XSMVER", fields[0], tuple(fields))

    def bootloader_version(self) -> int:
        """``AT#XBOOTINFO=0``: monotonic version of the running MCUboot."""
        return self._number("AT#XBOOTINFO=0")

    def bootloader_slot(self) -> int:
        """``AT#XBOOTINFO=1``: 0 when MCUboot runs from s0, 1 from s1."""
        return self._number("AT#XBOOTINFO=1")

    def delta_area(self) -> tuple[int, int]:
        """``AT#XFOTA=7``: size of the modem's update area in bytes, and how far it is filled."""
        fields = self._fields("AT#XFOTA=7")
        return _integer(fields[0]), _integer(fields[1] if len(fields) > 1 else "")

    def _text(self, command: str) -> str:
        return ",".join(self._fields(command))

    def _number(self, command: str) -> int:
        return _integer(self._fields(command)[0])

    def _fields(self, command: str) -> list[str]:
        lines = self._at.command(command, timeout_s=DEFAULT_TIMEOUT_S)
        if not lines:
            raise LinkError(f"the answer to {command} is empty", reason="bad-answer")
        name = re.sub(r"[?=].*", "", command[2:])
        return split_fields(lines[0].removeprefix(f"{name}:"))


def _integer(field: str) -> int:
    try:
        return int(field)
    except ValueError as error:
        raise LinkError(
            f"the board gave {field!r} where a number was expected", reason="bad-answer"
        ) from error
