"""Coverage-guided fuzzing by hand.

python -m hil_tests.fuzz --target all --seconds 60
python -m hil_tests.fuzz --target smp-messages --replay fuzz-findings/smp-messages-crash-1234
"""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from bridge.errors import UsageError
from hil_tests.fuzz.coverage_run import fuzz
from hil_tests.fuzz.targets import TARGETS, find_target


def main() -> int:
    """Fuzz targets, or run one input again; 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m hil_tests.fuzz", description="Coverage-guided fuzzing.")
    parser.add_argument("--target", default="all", help=f"all, or one of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--corpus", type=Path, help="where inputs are kept from run to run")
    parser.add_argument(
        "--findings", type=Path, default=Path("fuzz-findings"), help="where inputs go that show a bug"
    )
    parser.add_argument("--replay", type=Path, help="run this input once, without atheris")
    options = parser.parse_args()
    try:
        targets = list(TARGETS.values()) if options.target == "all" else [find_target(options.target)]
    except UsageError as error:
        parser.error(error.message)
    if options.replay is not None:
        if len(targets) != 1:
            parser.error("--replay needs the input's --target")
        targets[0].fuzz_one(options.replay.read_bytes())
        _say("nothing happened: this input shows no bug (any more)")
        return 0
    if find_spec("atheris") is None:
        parser.error("atheris is missing; install nrf91-bridge[fuzz]")
    sound = True
    for target in targets:
        outcome = fuzz(target, options.seconds, corpus=options.corpus, findings=options.findings, say=_say)
        _say(str(outcome))
        for finding in outcome.findings:
            _say(f"  again: python -m hil_tests.fuzz --target {target.name} --replay {finding}")
        sound = sound and outcome.sound
    return 0 if sound else 1


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
