"""What a fuzz target is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One input of the program, and how it is fuzzed.

    Attributes:
        name: For the command line.
        fuzz_one: Decodes arbitrary bytes; raises only when there is a bug.
        seeds: Makes the inputs that a fuzzer begins with: what real programs send and real files hold.
        module: Where the target is defined.
        max_bytes: Longest input that is worth trying.
        examples: How many inputs the suite tries; fewer where one takes long.
    """

    name: str
    fuzz_one: Callable[[bytes], object]
    seeds: Callable[[], Iterable[bytes]]
    module: str
    max_bytes: int = 4096
    examples: int = 150
