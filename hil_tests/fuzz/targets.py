"""Every fuzz target, by name."""

from bridge.errors import UsageError
from hil_tests.fuzz import at_lines, boards, broker, deltas, images, jobs, smp
from hil_tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (at_lines, smp, jobs, images, deltas, boards, broker)
    for target in module.TARGETS
}


def find_target(name: str) -> Target:
    """A target by name.

    Raises:
        UsageError: There is none.
    """
    if name not in TARGETS:
        raise UsageError(
            f"there is no fuzz target {name}; known: {', '.join(TARGETS)}", reason="unknown-target"
        )
    return TARGETS[name]
