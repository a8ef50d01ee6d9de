"""Options: units, sources and their order, and what is said about a value that is not accepted."""

from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset import units
from marmoset.config import BY_NAME, DURATION, NUMBER, OPTIONS, ORDERED, SIZE, Config, check_together, load
from marmoset.config_page import page
from marmoset.errors import UsageError

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("500ms", 500),
        ("15s", 15_000),
        ("1.5s", 1500),
        ("10m", 600_000),
        ("1h", 3_600_000),
        ("2d", 172_800_000),
        ("0", 0),
    ],
)
def test_duration(text: str, ms: int) -> None:
    assert units.parse_duration(text) == ms


@pytest.mark.parametrize("text", ["", "200", "-1s", "1.0001ms", "1 minute", "s", "1e3s", "\u0663s", "9" * 30 + "s"])
def test_duration_that_is_not_one(text: str) -> None:
    with pytest.raises(ValueError, match="500ms"):
        units.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("64mb", 64 << 20), ("512kb", 512 << 10), ("1gb", 1 << 30), ("1.5KB", 1536), ("1000", 1000), ("7b", 7)],
)
def test_size(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@given(st.integers(0, 10**15))
def test_units_round_trip(amount: int) -> None:
    assert units.parse_duration(units.duration_text(amount)) == amount
    assert units.parse_size(units.size_text(amount)) == amount


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("h:1", ("h", 1)),
        ("10.0.0.5:7946", ("10.0.0.5", 7946)),
        ("[::1]:5", ("::1", 5)),
        ("h", ("h", 9)),
        ("[::1]", ("::1", 9)),
    ],
)
def test_address(text: str, parts: tuple[str, int]) -> None:
    assert units.parse_address(text, 9) == parts
    assert units.parse_address(units.address_text(*parts)) == parts


@pytest.mark.parametrize(
    "text", ["", ":1", "h:0", "h:65536", "h:x", "::1:5", "[::1", "[::1]5", "a b:1", "h:-1", "h:\uff11"]
)
def test_address_that_is_not_one(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        units.parse_address(text, 9)


def test_every_field_is_an_option_and_every_default_is_safe() -> None:
    assert [option.name for option in OPTIONS] == [f.name for f in fields(Config)]
    check_together(Config())
    for option in OPTIONS:
        assert option.doc and option.section
        if option.kind in (NUMBER, DURATION, SIZE):
            assert option.low <= option.default <= option.high  # type: ignore[operator]
        assert option.parse(option.text(option.default)) == option.default


def test_order_of_sources(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(
        'name = "file"\ncluster = "file"\nport = 1000\njoin = ["a:1", "b"]\nnew_group = true\ngossip_interval = "1s"\n'
    )
    environ = {"MARMOSET_NAME": "variable", "MARMOSET_CLUSTER": "variable", "MARMOSET_CONFIG": str(file), "OTHER": "x"}
    loaded = load({"name": "flag"}, environ)
    assert (loaded.name, loaded.cluster, loaded.port, loaded.gossip_port) == ("flag", "variable", 1000, 7946)
    assert (loaded.join, loaded.new_group, loaded.gossip_interval) == (("a:1", "b:7946"), True, 1000)


def test_values_of_their_own_type() -> None:
    loaded = load({"gossip_interval": timedelta(seconds=1), "log_budget": 128 << 20, "join": ("a:1", "a:1"), "port": 0})
    assert (loaded.gossip_interval, loaded.log_budget, loaded.join, loaded.port) == (1000, 128 << 20, ("a:1",), 0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"gosip_interval": "1s"}, ["gosip_interval", "did you mean gossip_interval"]),
        ({"zzz": "1s"}, ["zzz", "known are name, bind"]),
        ({"gossip_interval": 200}, ["gossip_interval", "200", "500ms"]),
        ({"gossip_interval": "1ms"}, ["gossip_interval", "1ms", "10ms", "1m", "gossip eats the processor"]),
        ({"port": "70000"}, ["port", "70000", "65535"]),
        ({"console_port": 8080}, ["console_port: 8080 is not accepted; it takes 0 alone", "not built yet"]),
        ({"port": True}, ["port", "True", "whole number"]),
        ({"name": ""}, ["name", "1 to 64"]),
        ({"name": "a b"}, ["name", "a b"]),
        ({"join": "::1:5"}, ["join", "::1:5", "brackets"]),
        ({"join": 5}, ["join", "5", "host:port"]),
        ({"log_format": "xml"}, ["log_format", "xml", "human or json"]),
        ({"new_group": "perhaps"}, ["new_group", "perhaps", "true or false"]),
        ({"advertise": "a:b:c"}, ["advertise", "a:b:c"]),
        ({"bind": "0.0.0.0"}, ["bind", "0.0.0.0", "advertise"]),
        ({"bind": ""}, ["bind", "127.0.0.1"]),
        ({"port": 7946}, ["port", "gossip_port", "7946"]),
        ({"log_budget": "2mb"}, ["batch_bytes_max (64mb)", "log_budget (2mb)"]),
        ({"unreachable_after": "20m"}, ["unreachable_after (20m)", "presumed_dead_after (10m)"]),
        ({"unreachable_after": "50ms"}, ["unreachable_after", "50ms", "200ms"]),
        ({"membership_profile": "moon"}, ["membership_profile", "auto or loopback or lan or wan"]),
    ],
)
def test_what_is_said(given: dict[str, object], words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        load(given)
    for word in words:
        assert word in str(caught.value)


def test_a_join_list_without_an_address_begins_no_group_unless_that_is_said(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("join = []\n")
    for written, environ, path in (
        ({"join": [""]}, {}, None),
        ({"join": ()}, {}, None),
        ({}, {"MARMOSET_JOIN": " "}, None),
        ({}, {}, str(file)),
    ):
        with pytest.raises(UsageError, match="--join HOST:PORT.*--new-group"):
            load(written, environ, path)
        assert load({**written, "new_group": True}, environ, path).join == ()
        assert load({**written, "join": "a:1"}, environ, path).join == ("a:1",)


def test_the_source_is_named(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('port = "x"\n')
    with pytest.raises(UsageError, match=r"port in .*node\.toml: x is not accepted"):
        load(None, None, str(file))
    with pytest.raises(UsageError, match=r"MARMOSET_PORT: tcp://10\.0\.0\.1:6379 is not accepted"):
        load(None, {"MARMOSET_PORT": "tcp://10.0.0.1:6379"})
    with pytest.raises(UsageError, match="--port: x is not accepted"):
        load({"port": "x"}, given_as_flags=True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"gosip_port = 1\n", "unknown key 'gosip_port'.*did you mean gossip_port"),
        (b"port = \n", "is not TOML"),
        (b"name = '\xff'\n", "is not UTF-8"),
        (None, "cannot read the configuration file.*No such file"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "node.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        load(None, None, str(file))


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "127.0.0.1:7946"),
        ({"bind": "::1", "gossip_port": 5}, "[::1]:5"),
        ({"bind": "0.0.0.0", "advertise": "db-1", "gossip_port": 5}, "db-1:5"),
        ({"advertise": "db-1:9"}, "db-1:9"),
    ],
)
def test_address_that_others_use(given: dict[str, object], address: str) -> None:
    assert load(given).address == address


def test_by_name_has_what_the_flags_need() -> None:
    assert BY_NAME["presumed_dead_after"].flag == "--presumed-dead-after"
    assert BY_NAME["presumed_dead_after"].variable == "MARMOSET_PRESUMED_DEAD_AFTER"


def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == page()


def test_the_page_names_every_rule_between_options() -> None:
    for lesser, greater, why in ORDERED:
        assert f"| `{lesser}` | `{greater}` | {why} |" in page()
