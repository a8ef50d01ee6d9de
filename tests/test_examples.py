"""Every example runs, and prints what its text promises."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
PRINTED = {
    "presence.py": ["web-1 ['ada', 'cy'] logins: 3", "web-2 ['ada', 'cy'] logins: 3", "web-3 ['ada', 'cy'] logins: 3"],
    "shopping_list.py": ["phone:   bread, butter, apples, coffee", "kitchen: bread, butter, apples, coffee"],
}


def test_every_example_is_run_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == PRINTED.keys()


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_example(name: str) -> None:
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines() == PRINTED[name]
    assert ended.stderr == ""
