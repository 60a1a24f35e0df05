"""One atheris run of one target, in a process of its own.

    python -m hil_tests.fuzz.atheris_run hil_tests.fuzz.smp smp-frames CORPUS -max_total_time=60

Only here is the code instrumented, so it must be imported here for the first time.
"""

import importlib
import logging
import sys

import atheris

_INSTRUMENTED = ["bridge", "hil_tests.fuzz", "intelhex", "zipfile"]


def main() -> None:
    """Fuzz until libFuzzer has enough; it ends the process."""
    logging.disable(logging.CRITICAL)
    module, name, *options = sys.argv[1:]
    with atheris.instrument_imports(include=_INSTRUMENTED, enable_loader_override=False):
        targets = importlib.import_module(module).TARGETS
    target = next(target for target in targets if target.name == name)
    list(target.seeds())  # builds what is built once, outside of the first run's time

    def fuzz_one(data: bytes) -> None:
        target.fuzz_one(data)

    atheris.Setup([sys.argv[0], *options], fuzz_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
