"""What users install: the wheel, and a project of theirs that runs on it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "hil_project"

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel's content; dependencies are those of this environment."""
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(ROOT)], check=True, timeout=100
    )
    (wheel,) = wheels.glob("nrf91_bridge-*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(target), str(wheel)], check=True, timeout=100
    )
    return target


def test_the_example_project_runs_on_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(EXAMPLE, tmp_path / "project"))
    (project / "tests" / "test_installed.py").write_text(
        f"import bridge\ndef test_it(): assert bridge.__file__.startswith({str(installed)!r})\n"
    )
    environment = {
        name: text for name, text in os.environ.items() if not name.startswith(("NRF91_", "COV_", "PYTEST_"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nrf91-artifacts", "out"],
        cwd=project,
        env=environment | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "10 passed" in done.stdout
    assert "nrf91: port virtual (ini)" in done.stdout
    assert (project / "out" / "session.json").exists()
