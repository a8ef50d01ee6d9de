"""docs/commands.md, made from the command table (floor 8).

`python -m marmoset.commands.docs > docs/commands.md` writes it; a test fails when the file is not current.
"""

import sys
from typing import Final

from marmoset.commands import COMMANDS
from marmoset.commands.table import Command

_HEAD: Final = """# Commands

This page is made from the command table in `src/marmoset/commands/` by `python -m marmoset.commands.docs`; change it
there. Answers and error texts are those of Redis 7.0, but for what `tests/commands/test_commands_differences.py` lists.

The last column says what somebody who writes at the same time on another node can do to a command, where that is worth
knowing. Everywhere: a node answers from what has arrived at it, writes on one node are seen in their order, and what
one command, or one MULTI/EXEC, does is seen whole or not at all.
"""

_COLUMNS: Final = ("| command | cost | what it does | a concurrent writer |", "| --- | --- | --- | --- |")

_TITLES: Final = {
    "string": "Strings",
    "set": "Sets",
    "hash": "Hashes",
    "list": "Lists",
    "sorted-set": "Sorted sets",
    "generic": "Keys",
    "transactions": "Transactions",
    "connection": "Connection",
    "server": "Server",
    "cluster": "The group",
}


def page() -> str:
    """The whole page. O(commands)."""
    rows = [row for command in COMMANDS.values() for row in (command.subcommands.values() or (command,))]
    lines = [_HEAD]
    for group, title in _TITLES.items():
        here = sorted((row for row in rows if row.group == group), key=lambda row: row.full_name)
        if here:
            lines += [f"## {title}\n", *_COLUMNS, *map(_row, here), ""]
    return "\n".join(lines).rstrip() + "\n"


def _row(row: Command) -> str:
    call = f"{row.full_name.replace('|', ' ').upper()} {row.arguments}".strip()
    return "| " + " | ".join(_cell(text) for text in (f"`{call}`", row.complexity, row.summary, row.concurrency)) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
