"""The rules of this repository that no other tool knows; run by `make check`.

Each rule is a function from the tree to findings, and the table at the end of the file lists them all:

- a module begins with a docstring, and has at most `LINES_MAX` lines;
- no marker of unfinished work is left in a file that is ours;
- below floor 9 nothing reads a clock, global randomness or a socket, or prints: time, randomness and identity are
  arguments there, which is what lets the simulator repeat a run from a seed;
- below floor 9 two `except` clauses of a function that catch different classes give them different names, since mypyc
  gives a name one type;
- tests lie where their subject lies;
- what the documents write as code exists: commands and their flags, options, make targets, names, linked files.

A finding is `path:line: what is wrong`. Exit code 0 without findings, 1 with some.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LINES_MAX: Final = 600
CODE_FOLDERS: Final = ("src", "tests", "tools", "bench", "examples")
DOCUMENTS: Final = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md")
UNFINISHED: Final = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")) + r")\b")

# Floors 9 and 10, and the command of the simulator: all that may meet the outside world. The rest counts as pure.
IMPURE: Final = frozenset(
    [
        "runtime",
        "client",
        "logs",
        "serve",
        "server",
        "status",
        "demo",
        "api",
        "console",
        "cli",
        "config_page",
        "sim/command",
        "sim/fuzz",
        "sim/mutants",
        "sim/swim_experiments",
        "__init__",
        "__main__",
    ]
)
BANNED_MODULES: Final = frozenset(
    [
        "asyncio",
        "concurrent",
        "http",
        "multiprocessing",
        "secrets",
        "select",
        "selectors",
        "signal",
        "socket",
        "ssl",
        "subprocess",
        "threading",
        "urllib",
        "uuid",
        "uvloop",
    ]
)
BANNED_CALLS: Final = frozenset(
    [
        "datetime.datetime.now",
        "datetime.datetime.today",
        "datetime.datetime.utcnow",
        "datetime.date.today",
        "os.getrandom",
        "os.urandom",
        "random.SystemRandom",
        "builtins.input",
        "builtins.print",
    ]
)
BANNED_WHOLE: Final = frozenset({"time", "random"})
ALLOWED_OF_WHOLE: Final = frozenset({"random.Random", "time.struct_time"})

# Tests that have no module of their own beside them.
UNMIRRORED: Final = frozenset(
    {"e2e", "conftest.py", "test_style_tool.py", "test_examples.py", "test_guard.py", "test_package.py"}
)

# Tests of a whole package: `tests/crdts/test_histories.py`.
OF_A_PACKAGE: Final = frozenset({"histories"})


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One breach of a rule."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What documents may name: filled from the package and the Makefile, or by a test."""

    commands: dict[str, frozenset[str]]
    """Subcommand of `marmoset` -> its flags."""
    container: frozenset[str]
    """Subcommands of the RESP command `MARMOSET`."""
    variables: frozenset[str]
    targets: frozenset[str]
    identifiers: frozenset[str]
    """Every word with an underscore that stands somewhere in the sources."""


def modules(root: Path, *folders: str) -> Iterator[tuple[str, str]]:
    """Path relative to `root` and text of each Python file in the folders, in order."""
    for folder in folders or CODE_FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            yield path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")


def headers(root: Path) -> Iterator[Finding]:
    """A module that holds anything begins with a docstring."""
    for path, text in modules(root):
        if text.strip() and ast.get_docstring(ast.parse(text)) is None:
            yield Finding(path, 1, "a module begins with a docstring that says what it is")


def lengths(root: Path) -> Iterator[Finding]:
    """A module is something that a person can read in one go."""
    for path, text in modules(root):
        count = text.count("\n")
        if count > LINES_MAX:
            yield Finding(path, count, f"{count} lines, more than {LINES_MAX}: this is more than one module")


def unfinished(root: Path) -> Iterator[Finding]:
    """Nothing is left for later in the sources; what is to be done is an issue."""
    texts = list(modules(root))
    texts += [(p.relative_to(root).as_posix(), p.read_text(encoding="utf-8")) for p in documents(root)]
    for place, text in texts:
        for number, line in enumerate(text.splitlines(), 1):
            if match := UNFINISHED.search(line):
                yield Finding(place, number, f"a leftover {match[0]}")


def purity(root: Path) -> Iterator[Finding]:
    """Below floor 9 the outside world is an argument."""
    for path, text in modules(root, "src"):
        if not is_impure(path):
            for line, name in banned_names(ast.parse(text)):
                yield Finding(path, line, f"{name} below floor 9: time, randomness and input are arguments here")


def is_impure(path: str) -> bool:
    """Whether a module of the package is of floor 9 or above, or may meet the outside world for another reason."""
    inside = Path(path).relative_to("src/marmoset").with_suffix("").as_posix()
    return inside in IMPURE or inside.partition("/")[0] in IMPURE


def banned_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full name of each use of a clock, global randomness, a socket or the terminal."""
    known: dict[str, str] = {"print": "builtins.print", "input": "builtins.input"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                known[alias.asname or top] = alias.name if alias.asname else top
                if top in BANNED_MODULES:
                    yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                known[alias.asname or alias.name] = full
                if node.module.partition(".")[0] in BANNED_MODULES or is_banned(full):
                    yield node.lineno, full
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) or (isinstance(node, ast.Name) and node.id in ("print", "input")):
            used = dotted(node, known)
            if used and is_banned(used):
                yield node.lineno, used


def is_banned(name: str) -> bool:
    """Whether a full name such as `time.monotonic` may not be used below floor 9."""
    return name in BANNED_CALLS or (name.partition(".")[0] in BANNED_WHOLE and name not in ALLOWED_OF_WHOLE)


def dotted(node: ast.expr, known: dict[str, str]) -> str | None:
    """`datetime.datetime.now` for an expression that means it, given what the module imported under which name."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute):
        base = dotted(node.value, known)
        return f"{base}.{node.attr}" if base else None
    return None


def caught_names(root: Path) -> Iterator[Finding]:
    """Compiled code takes what a second clause catches for an instance of what the first one does."""
    for path, text in modules(root, "src"):
        if not is_impure(path):
            for function in ast.walk(ast.parse(text)):
                if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    yield from _caught_twice(path, function)


def _caught_twice(path: str, function: ast.AST) -> Iterator[Finding]:
    known: dict[str, str] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.ExceptHandler) and node.name and node.type is not None:
            caught = ast.unparse(node.type)
            if known.setdefault(node.name, caught) != caught:
                yield Finding(path, node.lineno, f"{node.name} is {known[node.name]} and {caught}: name them apart")


def mirrored_tests(root: Path) -> Iterator[Finding]:
    """`tests/crdts/test_map_nested.py` tests `src/marmoset/crdts/map.py` or the package `crdts`."""
    source = root / "src" / "marmoset"
    for path in sorted((root / "tests").rglob("test_*.py")):
        inside = path.relative_to(root / "tests")
        if inside.parts[0] in UNMIRRORED:
            continue
        folder = source / inside.parent
        subject = path.stem.removeprefix("test_")
        names = {entry.name.removesuffix(".py") for entry in folder.glob("*") if not entry.name.startswith("_")}
        if inside.parent.parts:
            names |= {inside.parent.name, *OF_A_PACKAGE}
        if not any(subject == name or subject.startswith(name + "_") for name in names):
            yield Finding(f"tests/{inside.as_posix()}", 1, f"no module in {folder.relative_to(root)} that this tests")


def documents(root: Path) -> list[Path]:
    """The documents that people read."""
    return [path for pattern in DOCUMENTS for path in sorted(root.glob(pattern))]


def code_in(text: str) -> Iterator[tuple[int, str]]:
    """Line number and text of what a Markdown document sets as code: spans, and lines of fenced blocks."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced:
            yield number, line
        else:
            for span in re.findall(r"`([^`]+)`", line):
                yield number, span


def named(root: Path, words: Vocabulary) -> Iterator[Finding]:
    """What a document writes as code exists."""
    for path in documents(root):
        name, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
        for line, code in code_in(text):
            for wrong in unknown_names(code, words):
                yield Finding(name, line, wrong)
        for number, content in enumerate(text.splitlines(), 1):
            for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", content):
                if not (path.parent / target).exists():
                    yield Finding(name, number, f"a link to {target}, which does not exist")


def unknown_names(code: str, words: Vocabulary) -> Iterator[str]:
    """What is wrong with one piece of code in a document."""
    for command, rest in re.findall(r"(?:^|[\s/|$])marmoset ([a-z][a-z-]*)\b([^|;#&]*)", code):
        if command == "ready":
            continue  # the line that a node prints, not a command
        if command not in words.commands:
            yield f"`marmoset {command}` is not a command"
            continue
        for flag in re.findall(r"(?<=\s)--[a-z][a-z-]*", rest):
            if flag not in words.commands[command]:
                yield f"`marmoset {command}` has no {flag}"
    for subcommand in re.findall(r"\bMARMOSET ([A-Z]+)\b", code):
        if subcommand not in words.container:
            yield f"`MARMOSET {subcommand}` is not a command"
    for variable in re.findall(r"\bMARMOSET_[A-Z_]+\b", code):
        if variable not in words.variables:
            yield f"{variable} is no option"
    for target in re.findall(r"(?:^|[\s$])make ([a-z][a-z-]*)\b", code):
        if target not in words.targets:
            yield f"`make {target}` is not a target"
    for identifier in re.findall(r"(?<![\w./-])[a-z]+(?:_[a-z]+)+(?![\w/-])", code):
        if identifier not in words.identifiers:
            yield f"{identifier} stands nowhere in the sources"


def vocabulary(root: Path) -> Vocabulary:
    """What there is to name, from the package itself, the Makefile and the words of the sources."""
    import typer.main  # noqa: PLC0415  # the rules above are tested without the package

    from marmoset import build, cli, config  # noqa: PLC0415

    group = typer.main.get_command(cli.app)
    commands = {
        name: frozenset(flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts))
        for name, command in getattr(group, "commands", {}).items()
    }
    source = "\n".join(text for _, text in modules(root, "src", "tools", "tests"))
    container = "\n".join(text for _, text in modules(root, "src/marmoset/commands"))
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    return Vocabulary(
        commands=commands,
        container=frozenset(re.findall(r"\b[A-Z]+\b", container)),
        variables=frozenset(option.variable for option in config.OPTIONS) | {config.FILE_VARIABLE, build.VARIABLE},
        targets=frozenset(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE)),
        identifiers=frozenset(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", source)),
    )


RULES: Final[tuple[Callable[[Path], Iterator[Finding]], ...]] = (
    headers,
    lengths,
    unfinished,
    purity,
    caught_names,
    mirrored_tests,
    lambda root: named(root, vocabulary(root)),
)


def main(root: Path) -> int:
    """Print every finding; the exit code."""
    findings = sorted(finding for rule in RULES for finding in rule(root))
    for finding in findings:
        print(finding)
    print(f"style: {len(findings)} findings" if findings else "style: nothing found")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parents[1]))
