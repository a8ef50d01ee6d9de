"""The page of commands is current, and every command is on it."""

from pathlib import Path

from marmoset.commands import COMMANDS
from marmoset.commands.docs import page

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m marmoset.commands.docs > docs/commands.md"


def test_every_command_has_a_row() -> None:
    rows = page().splitlines()
    for command in COMMANDS.values():
        for each in command.subcommands.values() or (command,):
            call = f"| `{each.full_name.replace('|', ' ').upper()}"
            assert sum(line.startswith((call + "`", call + " ")) for line in rows) == 1, call
