"""The regression guard: what is counted is attributed, compared and pinned as it says."""

from pathlib import Path

import pytest

from bench import guard, guarded
from bench.guard import AS_PINNED, GONE, LESS, MORE, NEW, Pins, Row, compare, conclusion, per_operation
from bench.guarded import PLAIN


def rows(pinned: dict[str, float], counted: dict[str, float]) -> list[Row]:
    return compare(pinned, counted)


def test_instructions_are_those_between_the_marks_of_a_stretch() -> None:
    totals = [1_000_000, 500, 77, 300, 9, 700, 123_456]
    assert per_operation(totals, [("SET", 10), ("GET", 100), ("SET", 20)]) == {"SET": 1200 / 30, "GET": 3.0}


def test_a_mark_too_many_is_noticed() -> None:
    with pytest.raises(AssertionError):
        per_operation([1, 2, 3, 4], [("SET", 10)])


def test_only_more_than_the_tolerance_fails() -> None:
    pinned = {"SET": 1000.0, "GET": 1000.0, "INCR": 1000.0}
    assert conclusion(rows(pinned, {"SET": 1099.0, "GET": 901.0, "INCR": 1000.0}), 10)[1] == 0
    said, code = conclusion(rows(pinned, {"SET": 1101.0, "GET": 500.0, "INCR": 1000.0}), 10)
    assert code == 1 and "SET" in said and "GET" not in said and "--pin" in said


def test_what_became_much_better_is_to_be_pinned_anew() -> None:
    said, code = conclusion(rows({"SET": 1000.0}, {"SET": 800.0}), 10)
    assert code == 0 and "SET" in said and "--pin" in said
    said, code = conclusion(rows({"SET": 1000.0}, {"SET": 950.0}), 10)
    assert code == 0 and "--pin" not in said


def test_every_operation_is_pinned_and_counted() -> None:
    found = rows({"SET": 1.0, "GET": 1.0}, {"SET": 1.0, "INCR": 1.0})
    assert [(row.name, row.verdict(10)) for row in found] == [("SET", AS_PINNED), ("INCR", NEW), ("GET", GONE)]
    said, code = conclusion(found, 10)
    assert code == 1 and "INCR" in said and "GET" in said


def test_verdicts() -> None:
    assert Row("SET", 100, 120).verdict(10) == MORE
    assert Row("SET", 100, 80).verdict(10) == LESS
    assert Row("SET", 100, 109).verdict(10) == AS_PINNED
    assert Row("SET", 100, 120).percent == pytest.approx(20)


def test_pins_are_scaled_by_what_plain_python_takes() -> None:
    pins = Pins("here", {"SET": 1000.0, PLAIN: 100.0})
    assert pins.scaled({"SET": 1.0, PLAIN: 120.0}) == {"SET": pytest.approx(1200)}
    assert [row.name for row in compare(pins.scaled({PLAIN: 100.0}), {"SET": 1.0, PLAIN: 100.0})] == ["SET"]


def test_elsewhere_the_tolerance_is_wider() -> None:
    pins = Pins("here", {})
    assert pins.tolerance("here", 10) == 10
    assert pins.tolerance("elsewhere", 10) == 20


def test_the_pins_have_every_operation_that_is_guarded() -> None:
    counted = {name for name, _ in guarded.run(64)}
    assert counted >= {"SET", "GET", "INCR", "SADD", "SISMEMBER", "HSET", "LPUSH", "ZADD"}
    pinned = guard.read_pins(guard.PINS)
    assert pinned
    for pins in pinned:
        assert set(pins.instructions) == counted, pins.environment
        assert pins.environment and all(each > 0 for each in pins.instructions.values())


def test_what_is_pinned_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "pins.json"
    assert guard.read_pins(path) == []
    guard.write_pins(path, Pins("here", {"SET": 1000, PLAIN: 10}))
    assert guard.read_pins(path) == [Pins("here", {"SET": 1000, PLAIN: 10})]


def test_each_environment_has_its_own_pins(tmp_path: Path) -> None:
    path = tmp_path / "pins.json"
    for environment, instructions in (("here", 1000), ("there", 1200), ("here", 900)):
        guard.write_pins(path, Pins(environment, {"SET": instructions, PLAIN: 10}))
    here, there = Pins("here", {"SET": 900, PLAIN: 10}), Pins("there", {"SET": 1200, PLAIN: 10})
    pinned = guard.read_pins(path)
    assert pinned == [here, there]
    assert guard.pins_for("there", pinned) == there
    assert guard.pins_for("elsewhere", pinned) == here
    assert guard.pins_for("elsewhere", []) == Pins("", {})
