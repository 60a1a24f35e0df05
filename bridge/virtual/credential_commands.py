"""``%CMNG`` and ``%KEYGEN`` as the modem answers them.

Source: nRF91x1 AT commands reference; order of checks and error codes as nrfcredstore expects them from
hardware.
"""

from collections.abc import Callable
from typing import Final

from bridge.virtual.at_host import OK, Reply
from bridge.virtual.credentials import (
    MAX_TAG,
    CmeCode,
    Credential,
    CredentialError,
    CredentialStore,
    CredentialType,
)
from bridge.wire.at_command import AtCommand, CommandKind

_WRITE, _LIST, _READ, _DELETE = range(4)
_KEY_TYPE_CLIENT: Final = 2


def _line(entry: Credential) -> str:
    return f'%CMNG: {entry.tag},{entry.type:d},"{entry.sha256}"'


class CredentialCommands:
    """The two commands on one store.

    Args:
        store: The credentials.
        cme: Makes the error reply for a code.
        radio_active: Whether the radio is on; the store can then only be read.
    """

    def __init__(
        self, store: CredentialStore, cme: Callable[[CmeCode], Reply], radio_active: Callable[[], bool]
    ) -> None:
        self._store = store
        self._cme = cme
        self._radio_active = radio_active

    def manage(self, command: AtCommand) -> Reply:
        """``AT%CMNG=<operation>[,<tag>[,<type>[,<content>]]]``."""
        if command.kind is CommandKind.TEST:
            return Reply("OK", (f"%CMNG: (0,1,2,3),(0-{MAX_TAG}),(0-6,8-11)",))
        try:
            return self._manage(command)
        except CredentialError as error:
            return self._cme(error.code)

    def _manage(self, command: AtCommand) -> Reply:
        operation, tag, kind = command.integer(0), command.integer(1), self._type(command)
        if operation == _LIST:
            return Reply("OK", tuple(_line(entry) for entry in self._store.listing(tag, kind)))
        if operation not in (_WRITE, _READ, _DELETE) or tag is None or kind is None:
            raise CredentialError(CmeCode.BAD_PARAMETER)
        if operation == _READ:
            entry, content = self._store.read(tag, kind)
            return Reply("OK", (f'{_line(entry)},"{content}"',))
        if self._radio_active():
            raise CredentialError(CmeCode.RADIO_ACTIVE)
        if operation == _DELETE:
            self._store.delete(tag, kind)
            return OK
        content_parameter = command.parameters[3] if len(command.parameters) > 3 else None
        if not isinstance(content_parameter, str):
            raise CredentialError(CmeCode.BAD_PARAMETER)
        self._store.write(tag, kind, content_parameter)
        return OK

    @staticmethod
    def _type(command: AtCommand) -> CredentialType | None:
        number = command.integer(2)
        if number is None:
            return None
        try:
            return CredentialType(number)
        except ValueError as error:
            raise CredentialError(CmeCode.BAD_PARAMETER) from error

    def generate(self, command: AtCommand) -> Reply:
        """``AT%KEYGEN=<tag>,<key type>,<response content>[,"<attributes>"]``."""
        tag, key_type, content = command.integer(0), command.integer(1), command.integer(2, 0)
        attributes = command.parameters[3] if len(command.parameters) > 3 else ""
        if self._radio_active():
            return self._cme(CmeCode.RADIO_ACTIVE)
        if (
            tag is None
            or key_type != _KEY_TYPE_CLIENT
            or content not in (0, 1)
            or not isinstance(attributes, str)
        ):
            return self._cme(CmeCode.BAD_PARAMETER)
        try:
            body = self._store.generate_key(tag, attributes, public_key_only=content == 1)
        except CredentialError as error:
            return self._cme(error.code)
        return Reply("OK", (f'%KEYGEN: "{body}"',))
