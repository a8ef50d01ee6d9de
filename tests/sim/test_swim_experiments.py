"""The experiments at small sizes: they measure what they say, and the extensions are worth what is claimed."""

import pytest

from marmoset.membership.profiles import LAN
from marmoset.sim import swim_experiments
from marmoset.sim.swim_experiments import Slowness, crashes, false_positives, joins, table, traffic, variants


def test_a_crash_is_probed_soon_suspected_then_and_known_to_all() -> None:
    result = crashes(60, 12, seed=3)
    assert 1.0 <= result.first_probed < 2.6, "SWIM expects 1.58"
    assert result.first_probed - 1 < result.first_suspected < result.all_suspect < result.all_unreachable
    assert result.all_unreachable <= result.all_unreachable_max < 25
    assert result == crashes(60, 12, seed=3)


def test_a_join_takes_a_few_periods() -> None:
    assert joins(60, 3, seed=1).all_know < 8


def test_a_quiet_cluster_sends_a_ping_and_an_ack_in_a_period_whatever_its_size() -> None:
    small, large = traffic(10, 60, seed=1), traffic(40, 60, seed=1)
    assert small.packets == pytest.approx(4.0, rel=0.03) and large.packets == pytest.approx(4.0, rel=0.03)
    assert large.packet_bytes == pytest.approx(small.packet_bytes, rel=0.05)
    assert small.link_bytes < large.link_bytes


def test_healthy_members_are_held_unreachable_fifty_times_less_often_with_the_extensions() -> None:
    setting = Slowness(size=64, slow=8, seconds=60)
    by_name = {
        name: false_positives(name, profile, setting, seed=2) for name, profile in variants(LAN.paced(1000))[::5]
    }
    plain, ours = by_name["plain SWIM"], by_name["and nobody on one single word"]
    assert plain.at_healthy >= 50
    assert 50 * ours.at_healthy <= plain.at_healthy


def test_a_table_is_markdown() -> None:
    assert table(["a", "b"], [["x", 1234], ["y", 1.25]]) == "| a | b |\n| --- | ---: |\n| x | 1,234 |\n| y | 1.2 |"


def test_all_tables_are_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(swim_experiments, "SIZES", (12, 20))
    monkeypatch.setattr(swim_experiments, "CRASHES", 4)
    tiny = Slowness(size=16, slow=2, seconds=2)
    monkeypatch.setattr(swim_experiments, "Slowness", lambda **_: tiny)
    swim_experiments.main(2)
    printed = capsys.readouterr().out
    assert printed.count("| --- |") == 4 and "| 20 |" in printed and "plain SWIM" in printed
