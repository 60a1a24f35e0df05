"""How a build of Serial Modem is configured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SerialModemOptions:
    """Kconfig of the application, and its age.

    Attributes:
        modem_full: ``SM_DFU_MODEM_FULL``: full modem updates (``#XDFU`` type 2). Off by default, as upstream.
        answers_before_reboot: It sends ``OK`` (and ``#XDFU``) before the reboots of a full update, as newer versions do;
            versions up to the middle of 2026 reboot without a word.
    """

    modem_full: bool = False
    answers_before_reboot: bool = False
