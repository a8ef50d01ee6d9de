"""Commands about the connection answer as a real Redis does."""

import pytest

from tests.commands.beside_redis import Pair

CASES = r"""
PING
ping
PiNg
PING hello
PING a b
PING ""
ECHO hello
ECHO ""
ECHO
ECHO a b
SELECT 0
SELECT x
SELECT -1
SELECT 9223372036854775807
SELECT 99999
SELECT ""
SELECT
SELECT 0 0

NOSUCH
nosuch a b c
NoSuch "with space" "quote'd" "new\nline" "\xff\xfe"
"new\nline"
"\xff\xfe"
"" a
GET\n a
NOSUCH NOSUCH "a\x00b" c
"nos\x00uch" c
NOSUCH "\r\n" "\n"
NOSUCH ""
CLIENT NOSUCH
CLIENT "NO\nSUCH" x
CLIENT "\xff"
CLIENT nosuch|id
CLIENT

HELLO x
HELLO 4
HELLO 1
HELLO 3.0
HELLO ""
HELLO 2 NOSUCH
HELLO 3 AUTH
HELLO 3 AUTH default
HELLO 3 AUTH nosuch x
HELLO 3 SETNAME
HELLO 3 SETNAME "with space"
HELLO 3 AUTH nosuch x SETNAME name
CLIENT GETNAME
HELLO 4 NOSUCH
AUTH
AUTH a
AUTH a b
AUTH default anything
AUTH a b c

CLIENT GETNAME
CLIENT SETNAME me
CLIENT GETNAME
CLIENT SETNAME "with space"
CLIENT SETNAME "new\nline"
CLIENT SETNAME "\xff"
CLIENT GETNAME
CLIENT SETNAME ""
CLIENT GETNAME
CLIENT SETNAME
CLIENT SETNAME a b
CLIENT GETNAME x
CLIENT ID x
CLIENT INFO x
CLIENT LIST NOSUCH
CLIENT LIST TYPE
CLIENT LIST TYPE nosuch
CLIENT LIST TYPE replica
CLIENT LIST TYPE normal x
CLIENT LIST ID
CLIENT LIST ID x
CLIENT LIST ID 0
CLIENT LIST ID 99999999999
CLIENT NO-EVICT on
CLIENT NO-EVICT off
CLIENT NO-EVICT nosuch
CLIENT NO-EVICT
CLIENT SETNAME me
RESET
CLIENT GETNAME
RESET x
QUIT x y
"""

LONG = f"""
{"a" * 152} b
NOSUCH {"a" * 152} b
NOSUCH {"a" * 100} {"b" * 60} c d e
"""


@pytest.mark.redis_tools
def test_as_redis(pair: Pair) -> None:
    assert pair.differing(LONG + CASES) == []
