"""Which build runs, how either is forced, and what setup.py makes compiled."""

import gc
import importlib.util
import os
import subprocess
import sys
import typing
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, PathFinder
from pathlib import Path
from types import FrameType, ModuleType

import pytest

import marmoset
import marmoset.ids
from marmoset import build
from marmoset.errors import UsageError
from marmoset.sim.hunting import applied
from marmoset.sim.mutants import MUTANTS

ROOT = Path(__file__).parents[1]


def python(code: str, wanted: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, build.VARIABLE: wanted}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)


def test_the_build_is_what_the_modules_are() -> None:
    is_source = str(marmoset.ids.__file__).endswith(".py")
    assert build.kind() == (build.INTERPRETED if is_source else build.COMPILED)


def test_interpreted_runs_the_sources_whatever_else_is_there() -> None:
    code = "from marmoset import build, keyspace, session; print(session.__file__, keyspace.__file__, build.kind())"
    ended = python(code, build.INTERPRETED)
    assert ended.returncode == 0, ended.stderr
    *files, kind = ended.stdout.split()
    assert len(files) == 2 and all(file.endswith(".py") for file in files) and kind == build.INTERPRETED


def test_sources_are_found_before_extension_modules(tmp_path: Path) -> None:
    (tmp_path / "hot.py").write_text("")
    (tmp_path / f"hot{EXTENSION_SUFFIXES[0]}").write_text("")
    usual = PathFinder.find_spec("marmoset.hot", [str(tmp_path)])
    found = build._SourcesOnly.find_spec("marmoset.hot", [str(tmp_path)])
    assert usual is not None and isinstance(usual.loader, ExtensionFileLoader)
    assert found is not None and found.origin == str(tmp_path / "hot.py")
    assert build._SourcesOnly.find_spec("elsewhere.hot", [str(tmp_path)]) is None


@pytest.mark.interpreted
def test_compiled_is_refused_where_it_is_not_there() -> None:
    with pytest.raises(UsageError, match="no compiled modules"):
        build.check({build.VARIABLE: build.COMPILED})
    assert python("import marmoset", build.COMPILED).returncode == 0, "a program may import what it does not start"
    opened = python("import marmoset; marmoset.open()", build.COMPILED)
    assert opened.returncode == 1 and "no compiled modules" in opened.stderr
    ended = python("from marmoset.cli import main; main()", build.COMPILED)
    assert ended.returncode == 2 and ended.stderr.startswith("marmoset: MARMOSET_BUILD: compiled is demanded")


def test_what_nobody_knows_is_refused() -> None:
    with pytest.raises(UsageError, match="'fast' is not accepted; it takes compiled or interpreted"):
        build.check({build.VARIABLE: "fast"})
    build.check({})
    build.check({build.VARIABLE: build.kind()})


def test_mutants_are_refused_where_they_would_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "kind", lambda: build.COMPILED)
    with pytest.raises(UsageError, match="MARMOSET_BUILD=interpreted"), applied(MUTANTS[0]):
        pass


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module setup.py, which does nothing by itself."""
    monkeypatch.chdir(ROOT)
    spec = importlib.util.spec_from_file_location("setup_of_marmoset", ROOT / "setup.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("wanted", "command", "has_compiler", "expected"),
    [
        ("compiled", "bdist_wheel", False, True),
        ("interpreted", "bdist_wheel", True, False),
        ("", "bdist_wheel", True, True),
        ("", "bdist_wheel", False, False),
        ("", "egg_info", True, False),
        ("", "editable_wheel", True, False),
        ("compiled", "editable_wheel", True, None),
        ("fast", "bdist_wheel", True, None),
    ],
)
def test_what_is_built(
    setup: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    wanted: str,
    command: str,
    has_compiler: bool,
    expected: bool | None,
) -> None:
    monkeypatch.setenv(build.VARIABLE, wanted)
    monkeypatch.setattr(sys, "argv", ["setup.py", command])
    monkeypatch.setattr(setup, "has_compiler", lambda: has_compiler)
    if expected is None:
        with pytest.raises(SystemExit):
            setup.is_wanted()
    else:
        assert setup.is_wanted() is expected


def test_a_compiler_that_is_not_there_is_noticed(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for missing in ("/nowhere/cc", "false"):
        monkeypatch.setenv("CC", missing)
        assert not setup.has_compiler()
    monkeypatch.setenv("CC", "true")
    assert setup.has_compiler(), "it is asked to compile, not looked for"


def test_the_probe_is_compiled_and_everything_that_is_left_exists(setup: ModuleType) -> None:
    files = setup.compiled_files()
    assert {"src/marmoset/ids.py", "src/marmoset/session.py", "src/marmoset/crdts/types.py"} <= set(files)
    for name in setup.LEFT_INTERPRETED:
        assert Path("src/marmoset", name).exists() and f"src/marmoset/{name}" not in files


def test_what_programs_do_most_is_compiled_from_the_call_to_its_end(setup: ModuleType) -> None:
    package = Path(marmoset.__file__).parent
    allowed = {str(package / Path(name).relative_to("src/marmoset")) for name in setup.compiled_files()}
    allowed |= {__file__, typing.__file__}  # compiled, a cast calls nothing
    met: set[str] = set()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            met.add(frame.f_code.co_filename)

    with marmoset.open(split_above=100) as db:
        elements, fields, hits, values = db.set("s"), db.map("m"), db.counter("c"), db.sequence("l")
        before = sys.getprofile()
        gc.disable()  # whoever is called back by the collector, as Hypothesis is, is no part of this
        sys.setprofile(note)
        try:
            for number in range(2000):  # all grow, and shrink, past what is kept in one piece
                elements.add(name := f"name {number}")
                fields[name] = number
                fields[name]
                hits.increment()
                values.append(name)
                values.insert(number // 2, name)
                assert name in elements and name in fields and values[-1] == name
                assert len(elements) == len(fields) == len(values) // 2 == number + 1
            for number in range(2000):
                elements.discard(name := f"name {number}")
                del fields[name], values[number // 2]
        finally:
            sys.setprofile(before)
            gc.enable()
        assert (len(elements), len(fields), len(values), hits.value) == (0, 0, 2000, 2000)
    assert met <= allowed, "another thread may get the interpreter in the middle, and waits for the lock then"
