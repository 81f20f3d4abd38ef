"""A skip is a failure in CI, where everything that a test may ask for is at hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = {
    "test_call.py": "import pytest\ndef test_it(): pytest.skip('no Go')\n",
    "test_fixture.py": "def test_it(shared_dir): pass\n",
    "test_mark.py": "import pytest\n@pytest.mark.skip(reason='no Java')\ndef test_it(): pass\n",
    "test_module.py": "import pytest\npytest.skip('no Node', allow_module_level=True)\n",
    "test_excused.py": "import pytest\ndef test_it(): pytest.skip('not here: no second continent')\n",
    "test_expected.py": "import pytest\n@pytest.mark.xfail\ndef test_it(): assert False\n",
}


def run_pytest(folder: Path, *, ci: bool) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\n")
    for name, text in TESTS.items():
        (folder / name).write_text(text)
    environment = {**os.environ, "ROUTING_CI": "1" if ci else "", "ROUTING_SHARED": str(folder / "gone")}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.skips", "-p", "no:cacheprovider"]
    command.append("--continue-on-collection-errors")
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_skips_fail_in_ci_but_for_the_excused(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, ci=True)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 1 skipped, 1 xfailed, 3 errors" in done.stdout
    for reason in ("no Go", "the data folder", "no Java", "no Node"):
        assert f"skipped, which is a failure in CI: {reason}" in done.stdout


def test_skips_are_skips_elsewhere(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, ci=False)
    assert done.returncode == pytest.ExitCode.OK
    assert "5 skipped, 1 xfailed" in done.stdout
