"""The commands (floor 8): one table, made of the tables of the groups."""

from typing import Final

from marmoset.commands import (
    cluster,
    connection,
    expiry,
    hashes,
    keys,
    lists,
    memory,
    server,
    sets,
    sortedsets,
    strings,
    transactions,
    waiting,
)
from marmoset.commands.table import Command

GROUPS: Final = (
    connection,
    server,
    memory,
    keys,
    expiry,
    strings,
    sets,
    sortedsets,
    hashes,
    lists,
    transactions,
    waiting,
    cluster,
)
COMMANDS: Final[dict[str, Command]] = {command.name: command for group in GROUPS for command in group.TABLE}
"""Every command by its name in lower case."""
