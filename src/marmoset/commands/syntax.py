"""The arguments of a command, from their one-line syntax to the shape of COMMAND DOCS (floor 8).

A table says `key value [NX | XX] [GET]`; clients that complete and hint want a tree. Words in capitals are tokens, a
token takes the words behind it as its value, what stands in brackets is optional, ` | ` separates alternatives,
`LEFT|RIGHT` is a choice of tokens, and `[key ...]` says that what stands before it may come again.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from marmoset.resp.replies import Reply, SetReply

_TOKENS: Final = re.compile(r"[\[\]]|[^\s\[\]]+")
_KEYS: Final = frozenset({"key", "source", "destination"})
_INTEGERS: Final = frozenset(
    {"count", "start", "stop", "end", "index", "decrement", "numkeys", "limit", "rank", "num-matches", "len"}
)


@dataclass(slots=True)
class Argument:
    """One argument, or several that belong together."""

    name: str
    kind: str
    token: str = ""
    optional: bool = False
    multiple: bool = False
    parts: "list[Argument]" = field(default_factory=list)

    def reply(self) -> Reply:
        """As COMMAND DOCS has it. O(parts)."""
        docs: dict[bytes, Reply] = {b"name": self.name.encode(), b"type": self.kind.encode()}
        if self.token:
            docs[b"token"] = self.token.encode()
        flags = [flag for flag, is_set in (("optional", self.optional), ("multiple", self.multiple)) if is_set]
        if flags:
            docs[b"flags"] = SetReply(flags)
        if self.parts:
            docs[b"arguments"] = [part.reply() for part in self.parts]
        return docs


def parse(syntax: str) -> list[Argument]:
    """The arguments that a syntax names. O(length).

    >>> [(a.name, a.kind, a.optional, a.multiple) for a in parse("key [key ...] [LIMIT limit]")]
    [('key', 'key', False, True), ('limit', 'integer', True, False)]
    """
    tokens = _TOKENS.findall(syntax)
    arguments, end = _sequence(tokens, 0)
    assert end == len(tokens), f"a bracket is closed that was not opened: {syntax}"
    return arguments


def _sequence(tokens: list[str], at: int) -> tuple[list[Argument], int]:
    """What stands up to a closing bracket or the end, and where that is."""
    here: list[Argument] = []
    while at < len(tokens) and tokens[at] != "]":
        token = tokens[at]
        at += 1
        if token == "|":
            after, at = _one(tokens, at)
            here[-1:] = [_choice([here[-1], after])]
        elif token == "[":
            inner, at = _sequence(tokens, at)
            at += 1
            if inner[-1].kind == "...":
                _repeat(here, len(inner) - 1)
            else:
                group = inner[0] if len(inner) == 1 else Argument("options", "block", parts=inner)
                group.optional = True
                here.append(group)
        else:
            argument, at = _one(tokens, at - 1)
            here.append(argument)
    return here, at


def _one(tokens: list[str], at: int) -> tuple[Argument, int]:
    """A word, or a token with the words that are its value."""
    token = tokens[at]
    at += 1
    if token == "...":
        return Argument("...", "..."), at
    if "|" in token:
        return _choice([Argument(word.lower(), "pure-token", word) for word in token.split("|")]), at
    if not token.isupper():
        return Argument(token, _kind(token)), at
    values: list[Argument] = []
    while at < len(tokens) and tokens[at] not in ("[", "]", "|", "...") and not tokens[at].isupper():
        values.append(Argument(tokens[at], _kind(tokens[at])))
        at += 1
    if not values:
        return Argument(token.lower(), "pure-token", token), at
    if len(values) == 1:
        values[0].token = token
        return values[0], at
    return Argument(token.lower(), "block", token, parts=values), at


def _choice(alternatives: list[Argument]) -> Argument:
    first, *others = alternatives
    parts = [*(first.parts if first.kind == "oneof" else [first]), *others]
    return Argument("-or-".join(part.name for part in parts), "oneof", parts=parts)


def _repeat(before: list[Argument], count: int) -> None:
    """The last `count` arguments may come again."""
    again = before[-count:]
    if count > 1:
        again = [Argument("data", "block", parts=again)]
        before[-count:] = again
    again[0].multiple = True


def _kind(name: str) -> str:
    return "key" if name in _KEYS else "integer" if name in _INTEGERS else "string"
