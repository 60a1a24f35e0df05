"""The one place that takes secrets out of text, before it is logged, shown, stored or sent.

Everything that leaves the process as text goes through :func:`redact_text`: messages of errors, ``statusDetails``, events,
log records and what the command line prints. It knows secrets by their shape, so it need not be told about each of them:

* the query, the fragment and the user information of a URL (a presigned URL is a key to the image),
* query parameters that sign or authenticate, also where the rest of the URL is missing,
* fields of HTTP headers that authenticate,
* private keys in PEM form,
* what AT commands carry into a board's credential store or SIM: ``%CMNG``, ``+CPIN``, ``+CGAUTH`` and the like.

It must never fail and must not care how often it was applied.
"""

import logging
import re
import traceback
from collections.abc import Mapping
from typing import Final

HIDDEN: Final = "..."
_URL_SECRETS: Final = re.compile(
    # Of a URL with a scheme all behind ? or #; of a path (as urllib3 logs it) all behind ?.
    r"(\b[a-z][a-z0-9+.-]*://[^\s\"<>?#]*[?#]|/[^\s\"<>?#]*\?)([^\s\"<>]+)",
    re.IGNORECASE,
)
_CLOSING: Final = "'),;]}"
_USER_INFORMATION: Final = re.compile(r"(?<=://)[^\s/\"<>]*@")
_NAMES: Final = (
    r"x-amz-(?:signature|credential|security-token)|x-goog-(?:signature|credential)|awsaccesskeyid|signature|sig"
    r"|access_?token|refresh_?token|id_?token|token|password|passwd|pwd|secret|api_?key|auth"
)
_PARAMETER: Final = re.compile(
    rf"(?:(?<![\w-])|(?<=%3F)|(?<=%26))({_NAMES})(=|%3D)(\"[^\"]*\"|'[^']*'|[^\s&\"<>,;)\]}}]+)",
    re.IGNORECASE,
)
_MEMBER: Final = re.compile(rf"([\"'](?:{_NAMES})[\"'])(\s*:\s*)(\"[^\"]*\"|'[^']*')", re.IGNORECASE)
_HEADER: Final = re.compile(
    r"\b((?:proxy-)?authorization|(?:set-)?cookie|x-amz-security-token|x-api-key)(['\"]?\s*[:=]\s*)"
    r"(\"[^\"\r\n]*\"|'[^'\r\n]*'|[^\r\n]+)",
    re.IGNORECASE,
)
_PRIVATE_KEY: Final = re.compile(
    # To its end, or as far as the text goes; also where line breaks were escaped.
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----.*?(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_SECRET_COMMAND: Final = re.compile(
    # Credentials, PINs and passwords of the SIM and of PDNs; Serial Modem's MQTT user, and HTTP headers.
    r"((?:%CMNG|\+CPIN|\+CPWD|\+CLCK|\+CGAUTH|#XMQTTCON|#XHTTPREQ)\s*[=:])(.*)",
    re.IGNORECASE | re.DOTALL,
)
_QUOTED: Final = re.compile(r"\"[^\"]*(?:\"|\Z)")
_SHA256: Final = re.compile(r"\"[0-9A-F]{64}\"", re.IGNORECASE)
_BARE_PIN: Final = re.compile(r"(\+CPIN=\s*)[0-9][^\s'\"]*", re.IGNORECASE)
_LONG_QUOTE: Final = re.compile(r"\"[^\"]{24,}(?:\"|\Z)")


def redact_text(text: str) -> str:
    """A text without the secrets in it; one without secrets comes back as it is."""
    if "-----BEGIN" in text:
        text = _PRIVATE_KEY.sub("(private key)", text)
    if "/" in text:
        text = _URL_SECRETS.sub(_hide_behind_path, text)
        text = _USER_INFORMATION.sub("", text)
    for pattern in (_PARAMETER, _MEMBER, _HEADER):
        text = pattern.sub(_hide_value, text)
    text = _SECRET_COMMAND.sub(_hide_quoted, text)
    return _BARE_PIN.sub(rf"\1{HIDDEN}", text)


def redact_value(value: object) -> object:
    """A JSON-like value with every text in it redacted, keys included."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {redact_value(key): redact_value(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_value(each) for each in value]
    return value


def redact_command(command: str) -> str:
    """An AT command or a line of its answer: as :func:`redact_text`, and without long quoted texts, whatever they are."""
    return _LONG_QUOTE.sub(f'"{HIDDEN}"', redact_text(command))


def is_secret_command(command: str) -> bool:
    """Whether an AT command carries secrets, so that its echo, which may come back in pieces, must not be shown."""
    return _SECRET_COMMAND.search(command) is not None


class RedactingFilter(logging.Filter):
    """Takes secrets out of log records, their tracebacks included, whoever wrote them.

    It belongs on handlers: a filter on a logger does not see what is logged to its children.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record; it always passes."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a record that cannot be formatted must not take the program down
            message = f"(unformattable record) {record.msg}"
        record.msg, record.args = redact_text(message), ()
        if record.exc_info and not record.exc_text and record.exc_info[0] is not None:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        if record.exc_text:
            record.exc_text = redact_text(record.exc_text)
        record.exc_info = None
        if record.stack_info:
            record.stack_info = redact_text(record.stack_info)
        return True


FILTER: Final = RedactingFilter()


def redact_logs(logger: logging.Logger | None = None) -> None:
    """Put the filter on all handlers of a logger, by default the root's; more than once does no harm."""
    for handler in (logger or logging.getLogger()).handlers:
        handler.addFilter(FILTER)


def _hide_behind_path(match: re.Match[str]) -> str:
    """Punctuation of the sentence around the URL stays."""
    query = match[2]
    return match[1] + HIDDEN + query[len(query.rstrip(_CLOSING)) :]


def _hide_value(match: re.Match[str]) -> str:
    """Quotes around the value stay."""
    name, sign, value = match.groups()
    quote = value[0] if value[0] in "\"'" else ""
    return f"{name}{sign}{quote}{HIDDEN}{quote}"


def _hide_quoted(match: re.Match[str]) -> str:
    """Digests stay: ``%CMNG`` lists credentials by theirs."""
    return match[1] + _QUOTED.sub(
        lambda quoted: quoted[0] if _SHA256.fullmatch(quoted[0]) else f'"{HIDDEN}"', match[2]
    )
