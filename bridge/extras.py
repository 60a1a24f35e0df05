"""Packages that only some commands need, and the extra of this distribution that brings each."""

from typing import Final

from bridge.errors import UsageError

_EXTRAS: Final = {
    "boto3": "aws",
    "botocore": "aws",
    "detools": "delta",
    "imgtool": "lab",
    "pynrfjprog": "probe",
    "starlette": "lab",
    "trustme": "lab",
    "uvicorn": "lab",
    "yaml": "hil",
}


def extra_of(error: ImportError) -> str | None:
    """The extra that brings the package that could not be imported; None if no extra does."""
    return _EXTRAS.get((error.name or "").partition(".")[0])


def install_hint(extra: str) -> str:
    """What to type to have an extra; it also works for an installation from a checkout or a wheel."""
    return f"Install it with: pip install 'nrf91-bridge[{extra}]'"


def missing_extra(needs: str, error: ImportError, extra: str) -> UsageError:
    """The error of a command that lacks a package (``missing-extra``).

    Args:
        needs: Subject and verb of the sentence, such as ``debug probes need``.
        error: The failed import.
        extra: The extra that brings the package.
    """
    return UsageError(
        f"{needs} {error.name or error}, which is not installed",
        reason="missing-extra",
        hint=install_hint(extra),
    )
