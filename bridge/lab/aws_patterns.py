r"""The regular expressions of AWS's service models, which are Java's: Python's ``re`` has no ``\p{…}``.

Every pattern with ``\p`` is one repeated character class, so each character is looked at by itself. ``Upper``, ``Digit`` and
``Graph`` are ASCII in Java (``java.util.regex.Pattern``, POSIX classes); ``C``, ``L``, ``N`` and ``Z`` are Unicode's general
categories.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

_REPEATED_CLASS: Final = re.compile(r"\^?\(?\[(?P<negated>\^?)(?P<items>.*)\](?P<times>[+*])\)?\$?")
_PROPERTY: Final = re.compile(r"\\p\{(\w+)\}")
_ASCII: Final[Mapping[str, Callable[[str], bool]]] = {
    "Upper": str.isupper,
    "Digit": str.isdigit,
    "Graph": lambda character: "!" <= character <= "~",
}


@cache
def matcher(pattern: str) -> Callable[[str], bool]:
    """Give a function that says whether a whole text matches.

    Raises:
        ValueError: The pattern is of a kind that does not occur in AWS's models so far.
    """
    if "\\p" not in pattern:
        compiled = re.compile(pattern, re.ASCII)
        return lambda text: compiled.fullmatch(text) is not None
    parts = _REPEATED_CLASS.fullmatch(pattern)
    if parts is None:
        raise ValueError(f"no idea how to match {pattern}")
    names = _PROPERTY.findall(parts["items"])
    rest = _PROPERTY.sub("", parts["items"])
    others = re.compile(f"[{rest}]") if rest else None
    negated, may_be_empty = bool(parts["negated"]), parts["times"] == "*"

    def allowed(character: str) -> bool:
        inside = (others is not None and others.match(character) is not None) or any(
            _has(character, name) for name in names
        )
        return inside is not negated

    return lambda text: (bool(text) or may_be_empty) and all(map(allowed, text))


def _has(character: str, name: str) -> bool:
    if (test := _ASCII.get(name)) is not None:
        return character.isascii() and test(character)
    return unicodedata.category(character).startswith(name)
