"""Runs targets under atheris and reads what libFuzzer says of them."""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from hil_tests.fuzz.target import Target

INPUT_TIMEOUT_S = 20
MEMORY_LIMIT_MB = 1500
_GRACE_S = 120
_STATUS = re.compile(r"#(\d+)\s+(INITED|NEW|REDUCE|pulse|DONE|RELOAD)\s+cov: (\d+) ft: (\d+) corp: (\d+)")
_CHATTER = re.compile(r"INFO:|WARNING: Failed to find function|#\d+\s")
_FINDING = re.compile(r"Test unit written to (\S+)")


@dataclass(frozen=True)
class Outcome:
    """What came of fuzzing one target.

    Attributes:
        target: Its name.
        executions: Inputs tried.
        seconds: How long it took, from import to end.
        first_coverage: Edges that the seeds reach.
        coverage: Edges reached in the end.
        corpus: Inputs that each reach something of their own.
        findings: Files with inputs that crash, hang or use too much memory.
        log: All that the run has printed.
    """

    target: str
    executions: int
    seconds: float
    first_coverage: int
    coverage: int
    corpus: int
    findings: tuple[Path, ...]
    log: str

    @property
    def sound(self) -> bool:
        """Whether it ran and found nothing."""
        return not self.findings and self.coverage > 0

    def __str__(self) -> str:
        new = self.coverage - self.first_coverage
        return (
            f"{self.target}: {self.executions} executions in {self.seconds:.0f} s, coverage {self.coverage} (+{new}),"
            f" corpus {self.corpus}, findings {len(self.findings)}"
        )


def write_seeds(target: Target, directory: Path) -> int:
    """Write a target's seeds into its corpus; returns how many there are."""
    directory.mkdir(parents=True, exist_ok=True)
    seeds = list(target.seeds())
    for seed in seeds:
        (directory / sha256(seed).hexdigest()[:16]).write_bytes(seed)
    return len(seeds)


def fuzz(
    target: Target,
    seconds: float,
    *,
    corpus: Path | None = None,
    findings: Path,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Fuzz one target, until the time is over or something is found.

    Args:
        target: The target.
        seconds: How long.
        corpus: Where its corpus is kept; without it in a temporary directory.
        findings: Where inputs go that show a bug.
        say: Told what a finding looked like.
    """
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        directory = (corpus or Path(temporary)) / target.name
        write_seeds(target, directory)
        findings.mkdir(parents=True, exist_ok=True)
        started_s = time.monotonic()
        ran = subprocess.run(
            [
                *(sys.executable, "-m", "hil_tests.fuzz.atheris_run"),
                *(target.module, target.name, str(directory)),
                *(
                    f"-max_total_time={seconds:.0f}",
                    f"-max_len={target.max_bytes}",
                    f"-timeout={INPUT_TIMEOUT_S}",
                    f"-report_slow_units={INPUT_TIMEOUT_S}",
                ),
                *(f"-rss_limit_mb={MEMORY_LIMIT_MB}", f"-artifact_prefix={findings}/{target.name}-"),
            ],
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
            timeout=seconds + _GRACE_S,
            check=False,
        )
    outcome = read_log(target.name, ran.stdout.decode("utf-8", "replace"), time.monotonic() - started_s)
    if not outcome.sound:
        say("\n".join(line for line in outcome.log.splitlines() if not _CHATTER.match(line)))
    return outcome


def read_log(target: str, log: str, seconds: float) -> Outcome:
    """Read libFuzzer's output."""
    states = [match.groups() for match in _STATUS.finditer(log)]
    covered = [(int(runs), int(coverage), int(corpus)) for runs, _, coverage, _, corpus in states]
    first = next((int(state[2]) for state in states if state[1] == "INITED"), 0)
    runs, coverage, corpus = covered[-1] if covered else (0, 0, 0)
    return Outcome(
        target,
        runs,
        seconds,
        first,
        coverage,
        corpus,
        tuple(Path(path) for path in _FINDING.findall(log)),
        log,
    )
