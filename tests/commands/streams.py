"""Random requests, valid and not, over few keys and values, so that they meet."""

from hypothesis import strategies as st

Words = tuple[bytes, ...]

KEYS = [b"a", b"b", b"c", b"d"]
VALUES = [b"", b"x", b"y", b"z", b"1", b"-1", b"10", b"007", b"0.5", b"9223372036854775807", b"\r\n\x00\xff"]
INTEGERS = [b"0", b"1", b"-1", b"2", b"-2", b"3", b"5", b"-5", b"100", b"-100"]
BAD_INTEGERS = [b"", b"x", b"1.5", b" 1", b"01", b"+1", b"9223372036854775808", b"-9223372036854775809", b"-0"]
DECIMALS = [b"0.5", b"-0.25", b"1", b"100", b"1e2", b"-3", b"x", b"", b" 1", b"0.125"]
PATTERNS = [b"*", b"a", b"?", b"[ab]", b"[^a]", b"[a-c]", b"*b*", b"\\a", b"[", b"[c-a]", b"", b"??"]

key = st.sampled_from(KEYS)
value = st.sampled_from(VALUES)
integer = st.sampled_from(INTEGERS * 2 + BAD_INTEGERS)
decimal = st.sampled_from(DECIMALS)
pattern = st.sampled_from(PATTERNS)


def word(text: str) -> st.SearchStrategy[bytes]:
    return st.sampled_from([text.encode(), text.lower().encode()])


def some(strategy: st.SearchStrategy[bytes], low: int = 1, high: int = 4) -> st.SearchStrategy[list[bytes]]:
    return st.lists(strategy, min_size=low, max_size=high)


def command(name: str, *parts: "st.SearchStrategy[bytes] | st.SearchStrategy[list[bytes]]") -> st.SearchStrategy[Words]:
    def join(found: tuple[bytes | list[bytes], ...]) -> Words:
        words: list[bytes] = [name.encode()]
        for part in found:
            words += part if isinstance(part, list) else [part]
        return tuple(words)

    return st.tuples(*parts).map(join)


def options(*choices: st.SearchStrategy[tuple[bytes, ...]]) -> st.SearchStrategy[list[bytes]]:
    return st.lists(st.one_of(*choices), max_size=3).map(lambda found: [each for words in found for each in words])


def option(name: str, *parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[tuple[bytes, ...]]:
    return st.tuples(word(name), *parts)


side = st.sampled_from([b"LEFT", b"RIGHT", b"left", b"UP"])

STRINGS = [
    command("SET", key, value),
    command("SET", key, value, options(*(option(name) for name in ("NX", "XX", "GET", "KEEPTTL", "WHAT")))),
    command("GET", key),
    command("GETDEL", key),
    command("GETSET", key, value),
    command("MSET", st.lists(st.sampled_from(KEYS + VALUES), min_size=1, max_size=5)),
    command("MGET", some(key)),
    command("STRLEN", key),
    command("APPEND", key, value),
    command("SETNX", key, value),
    command("GETRANGE", key, integer, integer),
    *(command(name, key) for name in ("INCR", "DECR")),
    *(command(name, key, integer) for name in ("INCRBY", "DECRBY")),
    command("INCRBYFLOAT", key, decimal),
]
SETS = [
    command("SADD", key, some(value)),
    command("SREM", key, some(value)),
    *(command(name, key) for name in ("SMEMBERS", "SCARD")),
    command("SISMEMBER", key, value),
    command("SMISMEMBER", key, some(value)),
    command("SMOVE", key, key, value),
    *(command(name, some(key)) for name in ("SUNION", "SINTER", "SDIFF")),
    *(command(name, key, some(key)) for name in ("SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE")),
    command("SINTERCARD", integer, some(key), options(option("LIMIT", integer))),
    command("SPOP", key, st.sampled_from([b"0", b"100", b"-1", b"x"])),
    command("SRANDMEMBER", key, st.sampled_from([b"0", b"100", b"x", b"-9223372036854775808"])),
    command(
        "SSCAN",
        key,
        st.just(b"0"),
        options(
            option("MATCH", pattern), option("COUNT", st.sampled_from([b"100", b"0", b"-1", b"x"])), option("TYPE")
        ),
    ),
]
HASHES = [
    command("HSET", key, some(value, 1, 5)),
    command("HMSET", key, some(value, 1, 5)),
    *(command(name, key, value) for name in ("HGET", "HEXISTS", "HSTRLEN")),
    command("HMGET", key, some(value)),
    command("HDEL", key, some(value)),
    *(command(name, key) for name in ("HGETALL", "HLEN", "HKEYS", "HVALS")),
    command("HINCRBY", key, value, integer),
    command("HINCRBYFLOAT", key, value, decimal),
    command("HSETNX", key, value, value),
    command("HRANDFIELD", key, st.sampled_from([b"0", b"100", b"x", b"-9223372036854775808"])),
    command("HRANDFIELD", key, st.sampled_from([b"0", b"100", b"x"]), st.sampled_from([b"WITHVALUES", b"WHAT"])),
    command(
        "HSCAN", key, st.just(b"0"), options(option("MATCH", pattern), option("COUNT", st.sampled_from([b"100", b"0"])))
    ),
]
LISTS = [
    *(command(name, key, some(value)) for name in ("LPUSH", "RPUSH", "LPUSHX", "RPUSHX")),
    *(command(name, key) for name in ("LPOP", "RPOP", "LLEN")),
    *(command(name, key, integer) for name in ("LPOP", "RPOP", "LINDEX")),
    *(command(name, key, integer, integer) for name in ("LRANGE", "LTRIM")),
    command("LRANGE", key, st.just(b"0"), st.just(b"-1")),
    command("LSET", key, integer, value),
    command("LINSERT", key, st.sampled_from([b"BEFORE", b"AFTER", b"after", b"WHAT"]), value, value),
    command("LREM", key, integer, value),
    command(
        "LPOS",
        key,
        value,
        options(option("RANK", integer), option("COUNT", integer), option("MAXLEN", integer), option("WHAT")),
    ),
    command("LMOVE", key, key, side, side),
    command("RPOPLPUSH", key, key),
]
GENERIC = [
    *(command(name, some(key)) for name in ("EXISTS", "DEL", "UNLINK", "WATCH")),
    command("TYPE", key),
    command("KEYS", pattern),
    command("DBSIZE"),
    command("SELECT", st.sampled_from([b"0", b"-1", b"x", b"9223372036854775807"])),
    command("ECHO", value),
    command("PING", st.lists(value, max_size=2)),
    command("FLUSHALL", st.sampled_from([[], [b"SYNC"], [b"ASYNC"], [b"WHAT"], [b"SYNC", b"SYNC"]])),
    command(
        "SCAN",
        st.sampled_from([b"0", b"x", b""]),
        options(option("MATCH", pattern), option("TYPE", st.sampled_from([b"string", b"list", b"SET", b"what"]))),
    ),
    *(command(name) for name in ("MULTI", "EXEC", "DISCARD", "UNWATCH")),
    command("NOSUCH", some(value, 0)),
    command(
        "COMMAND",
        word("GETKEYS"),
        st.sampled_from([[b"get", b"a"], [b"mset", b"a", b"1", b"b", b"2"], [b"get"], [b"ping"], [b"nosuch", b"a"]]),
    ),
]
WRONG_ARITY = [
    command(name, some(value, 0, 7))
    for name in (
        "GET",
        "SET",
        "INCR",
        "INCRBY",
        "SADD",
        "SMOVE",
        "HSET",
        "HGET",
        "HMSET",
        "LPUSH",
        "LRANGE",
        "LPOS",
        "LINSERT",
        "LPOP",
        "MSET",
        "SPOP",
        "MULTI",
        "WATCH",
    )
]

one = st.one_of(
    st.one_of(*STRINGS),
    st.one_of(*SETS),
    st.one_of(*HASHES),
    st.one_of(*LISTS),
    st.one_of(*GENERIC),
    st.one_of(*WRONG_ARITY),
)
streams = st.lists(one, min_size=1, max_size=40)
