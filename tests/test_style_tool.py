"""The rules of `tools/check_style.py`: each finds its breach and leaves what is right alone."""

from pathlib import Path

import pytest

from tools import check_style
from tools.check_style import Finding, Vocabulary

WORDS = Vocabulary(
    commands={"serve": frozenset({"--name", "--gossip-port"})},
    container=frozenset({"STATUS"}),
    variables=frozenset({"MARMOSET_NAME"}),
    targets=frozenset({"test"}),
    identifiers=frozenset({"gossip_interval"}),
)


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def lines_of(findings: list[Finding]) -> list[tuple[str, int]]:
    return [(finding.path, finding.line) for finding in findings]


def test_a_module_without_a_header_is_found(tmp_path: Path) -> None:
    write(tmp_path, "src/marmoset/good.py", '"""What it is."""\n')
    write(tmp_path, "src/marmoset/empty.py", "")
    write(tmp_path, "src/marmoset/bad.py", "# a comment is no header\nA = 1\n")
    assert lines_of(list(check_style.headers(tmp_path))) == [("src/marmoset/bad.py", 1)]


def test_a_long_module_is_found(tmp_path: Path) -> None:
    write(tmp_path, "src/marmoset/good.py", "\n" * check_style.LINES_MAX)
    write(tmp_path, "src/marmoset/bad.py", "\n" * (check_style.LINES_MAX + 1))
    assert [finding.path for finding in check_style.lengths(tmp_path)] == ["src/marmoset/bad.py"]


def test_unfinished_work_is_found_in_sources_and_documents(tmp_path: Path) -> None:
    word = "TO" + "DO"
    write(tmp_path, "src/marmoset/good.py", f"METHOD = '{word}S'\n")
    write(tmp_path, "src/marmoset/bad.py", f"\n# {word}: later\n")
    write(tmp_path, "README.md", f"{word}\n")
    assert lines_of(list(check_style.unfinished(tmp_path))) == [("src/marmoset/bad.py", 2), ("README.md", 1)]


@pytest.mark.parametrize(
    "text",
    [
        "import socket\n",
        "import asyncio.events\n",
        "from asyncio import get_event_loop\n",
        "from time import monotonic\n",
        "import time\ndef f(): return time.monotonic()\n",
        "import time as t\ndef f(): return t.time()\n",
        "import random\nx = random.random()\n",
        "from random import choice\n",
        "import random\nx = random.SystemRandom()\n",
        "import os\nx = os.urandom(8)\n",
        "import datetime\nx = datetime.datetime.now()\n",
        "from datetime import datetime\nx = datetime.utcnow()\n",
        "print('x')\n",
        "def f(write=print): ...\n",
    ],
)
def test_the_outside_world_below_floor_nine_is_found(tmp_path: Path, text: str) -> None:
    write(tmp_path, "src/marmoset/replication/bad.py", text)
    write(tmp_path, "src/marmoset/runtime/shell.py", text)
    write(tmp_path, "src/marmoset/cli.py", text)
    write(tmp_path, "src/marmoset/sim/command.py", text)
    found = list(check_style.purity(tmp_path))
    assert {finding.path for finding in found} == {"src/marmoset/replication/bad.py"}


@pytest.mark.parametrize(
    "text",
    [
        "import random\ndef f(rng: random.Random): return rng.random()\n",
        "from random import Random\n",
        "from datetime import timedelta\nx = timedelta(0)\n",
        "import os\nx = os.path.sep\n",
        "class A:\n    time = 1\n\n    def f(self): return self.time\n",
    ],
)
def test_arguments_in_place_of_the_outside_world_are_left_alone(tmp_path: Path, text: str) -> None:
    write(tmp_path, "src/marmoset/replication/good.py", text)
    assert list(check_style.purity(tmp_path)) == []


def test_one_name_for_what_two_clauses_catch_is_found(tmp_path: Path) -> None:
    clauses = "try: f()\n{0}except KeyError as {1}: pass\n{0}except OSError as {2}: pass\n"
    both = "def g():\n    " + clauses.format("    ", "error", "error")
    apart = "def h():\n    " + clauses.format("    ", "error", "problem")
    write(tmp_path, "src/marmoset/replication/bad.py", both)
    write(tmp_path, "src/marmoset/replication/good.py", apart + both.replace("OSError", "KeyError"))
    write(tmp_path, "src/marmoset/server.py", both)
    found = list(check_style.caught_names(tmp_path))
    assert lines_of(found) == [("src/marmoset/replication/bad.py", 4)]
    assert found[0].text == "error is KeyError and OSError: name them apart"


def test_a_test_without_a_subject_is_found(tmp_path: Path) -> None:
    write(tmp_path, "src/marmoset/crdts/map.py", "")
    write(tmp_path, "src/marmoset/keyspace.py", "")
    for name in ("crdts/test_map.py", "crdts/test_map_nested.py", "crdts/test_histories.py", "test_keyspace.py"):
        write(tmp_path, f"tests/{name}", "")
    for name in ("crdts/test_mapping.py", "test_map.py", "nowhere/test_map.py"):
        write(tmp_path, f"tests/{name}", "")
    write(tmp_path, "tests/e2e/test_anything.py", "")
    found = [finding.path for finding in check_style.mirrored_tests(tmp_path)]
    assert sorted(found) == ["tests/crdts/test_mapping.py", "tests/nowhere/test_map.py", "tests/test_map.py"]


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("marmoset serve --name a --gossip-port 1", []),
        (".venv/bin/marmoset serve", []),
        ("marmoset dance", ["`marmoset dance` is not a command"]),
        ("marmoset serve --nmae a", ["`marmoset serve` has no --nmae"]),
        ("marmoset ready name=a", []),
        ("redis-cli MARMOSET STATUS", []),
        ("MARMOSET SING", ["`MARMOSET SING` is not a command"]),
        ("MARMOSET_NAME=a", []),
        ("MARMOSET_NMAE=a", ["MARMOSET_NMAE is no option"]),
        ("make test", []),
        ("make tests", ["`make tests` is not a target"]),
        ("gossip_interval", []),
        ("gosip_interval", ["gosip_interval stands nowhere in the sources"]),
        ("bench/some_file.py", []),
    ],
)
def test_names_in_documents(code: str, wrong: list[str]) -> None:
    assert list(check_style.unknown_names(code, WORDS)) == wrong


def test_documents_are_read_for_spans_blocks_and_links(tmp_path: Path) -> None:
    write(tmp_path, "docs/here.md", "fine\n")
    write(
        tmp_path,
        "README.md",
        "`make test` and\n```\nmake bread\n```\nmake sense [a](docs/here.md#x) [b](docs/gone.md)\n",
    )
    assert lines_of(list(check_style.named(tmp_path, WORDS))) == [("README.md", 3), ("README.md", 5)]


def test_the_exit_code_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check_style, "RULES", (check_style.headers,))
    write(tmp_path, "src/marmoset/good.py", '"""What it is."""\n')
    assert check_style.main(tmp_path) == 0
    write(tmp_path, "src/marmoset/bad.py", "A = 1\n")
    assert check_style.main(tmp_path) == 1
    assert "src/marmoset/bad.py:1: " in capsys.readouterr().out
