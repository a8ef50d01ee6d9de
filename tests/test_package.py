"""The package as a whole: what is promised about its name, version, types and start."""

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import marmoset
from marmoset import build
from marmoset.version import VERSION

ROOT = Path(__file__).parents[1]


def test_there_is_one_version() -> None:
    assert marmoset.__version__ == VERSION
    assert metadata.version("marmoset-db") == VERSION


def test_the_package_is_typed() -> None:
    assert (Path(marmoset.__file__).parent / "py.typed").exists()


def test_the_command_is_there() -> None:
    ended = subprocess.run(
        [Path(sys.executable).parent / "marmoset", "--version"], capture_output=True, text=True, check=False
    )
    assert ended.stdout.strip() == f"marmoset {VERSION} ({build.kind()})"


def test_importing_the_package_brings_no_server() -> None:
    """A program that imports marmoset pays for what it uses: no event loop, no command line."""
    heavy = "{'asyncio', 'uvloop', 'typer', 'rich', 'hiredis'}"
    code = f"import sys, marmoset; print(sorted({heavy} & sys.modules.keys()))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    pins = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line]
    pinned = {pin.partition("==")[0].lower() for pin in pins}
    for requirement in wanted:
        assert requirement.partition(">=")[0] in pinned
