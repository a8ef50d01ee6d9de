"""`marmoset status`: one look at a running node (floor 10).

Nothing is left out for want of room, since ids and addresses are there to be copied: on a terminal that is too narrow a
value goes on in the next line, and where the output is no terminal each row is one line, however long.
"""

import json

from rich.console import Console
from rich.table import Table

from marmoset.client import Client, pairs
from marmoset.errors import UsageError
from marmoset.units import parse_address

_DEFAULT_PORT = 6379
_WIDTH_UNBOUNDED = 10_000


def show(address: str, *, as_json: bool) -> None:
    """Print what the node at `address` says of itself and of the members; raises `UsageError` if none answers."""
    try:
        host, port = parse_address(address, _DEFAULT_PORT)
    except ValueError as error:
        raise UsageError(f"{address} is not accepted; it takes {error}") from error
    with Client(host, port) as client:
        status = client.mapping("MARMOSET", "STATUS")
        members = _rows(client.call("MARMOSET", "MEMBERS"))
    if as_json:
        print(json.dumps({"status": status, "members": members}, ensure_ascii=True))
        return
    console = Console() if Console().is_terminal else Console(width=_WIDTH_UNBOUNDED)
    console.print(_status_table(status))
    console.print(_members_table(members))


def _rows(reply: object) -> list[dict[str, object]]:
    if not isinstance(reply, list):
        raise UsageError(f"expected a list of members, got {reply!r}")
    return [pairs(row) for row in reply]


def _status_table(status: dict[str, object]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", overflow="fold")
    table.add_column(overflow="fold")
    for name, value in status.items():
        table.add_row(name, str(value))
    return table


def _members_table(members: list[dict[str, object]]) -> Table:
    columns = list(members[0]) if members else []
    table = Table(title="members", title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for member in members:
        table.add_row(*(str(member.get(column, "")) for column in columns))
    return table
