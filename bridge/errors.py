"""The one error tree: a class per exit code, and every error says what, where and what to do next."""

from typing import ClassVar

from bridge.redaction import redact_text


class BridgeError(Exception):
    """Something went wrong that a person can act on.

    Its texts go into logs, events, journals and a job's ``statusDetails``; so secrets are taken out of them here.

    Attributes:
        exit_code: Exit code of the command line for this family of errors.
        reason: Short machine-readable code in kebab case, such as ``wrong-delta-base``; it goes into a job's
            ``statusDetails`` and the JSON output.
        stage: Where on the update line it happened (a stage name), if known.
        offset: Byte offset in the image or stream where it happened, if known.
        hint: What to do next, one sentence, if there is something to do.
    """

    exit_code: ClassVar[int] = 1
    default_reason: ClassVar[str] = "internal"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        stage: str | None = None,
        offset: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(redact_text(message))
        self.reason = reason or self.default_reason
        self.stage = stage
        self.offset = offset
        self.hint = None if hint is None else redact_text(hint)

    @property
    def message(self) -> str:
        """What happened, without stage, offset and hint."""
        return str(self.args[0])


class UsageError(BridgeError):
    """The command line, configuration or an argument makes no sense."""

    exit_code = 2
    default_reason = "usage"


class BoardNotFoundError(BridgeError):
    """No board answers, or more than one fits."""

    exit_code = 3
    default_reason = "no-board"


class LinkError(BridgeError):
    """The serial link was lost, or the board did not answer in time."""

    exit_code = 4
    default_reason = "link-lost"


class ImageRefusedError(BridgeError):
    """The image was refused on the host, before anything was written for good."""

    exit_code = 5
    default_reason = "image-refused"


class BoardRefusedError(BridgeError):
    """The board answered with an error."""

    exit_code = 6
    default_reason = "board-refused"


class VerificationError(BridgeError):
    """The image was written, but the board does not run it or did not confirm it."""

    exit_code = 7
    default_reason = "verification-failed"


class CloudError(BridgeError):
    """The broker, the Jobs service or the image server failed us."""

    exit_code = 8
    default_reason = "cloud"


class BenchError(BridgeError):
    """The bench is at fault: the port is held by someone else, no power, no lock."""

    exit_code = 9
    default_reason = "bench"


class InterruptedUpdateError(BridgeError):
    """A person or the system stopped us."""

    exit_code = 130
    default_reason = "interrupted"
