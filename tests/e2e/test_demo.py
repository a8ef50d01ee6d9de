"""`marmoset demo`: the tour holds, and shows what every node answered."""

import time
from pathlib import Path

from tests.e2e.cluster import run


def test_the_demo_holds(tmp_path: Path) -> None:
    began = time.monotonic()
    ended = run("demo", "--nodes", "3", "--keep-logs", str(tmp_path), timeout_s=180, COLUMNS="120")
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    print(f"demo: {time.monotonic() - began:.1f} s")
    for name in ("ada", "bea", "cy"):
        assert f"  {name}: " in ended.stdout
    for shown in ("fruit", "hits", "profile", "todo", "log_batches=0", "killed and started again", "is stopped"):
        assert shown in ended.stdout
    assert "Traceback" not in ended.stderr


def test_the_demo_needs_three_nodes() -> None:
    ended = run("demo", "--nodes", "2")
    assert ended.returncode == 2
