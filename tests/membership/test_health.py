"""Local health: bounds of the score, and what it stretches."""

from marmoset.membership.health import LocalHealth


def test_the_score_stays_between_its_bounds_and_stretches_times() -> None:
    health = LocalHealth(8, enabled=True)
    health.note(-1)
    assert health.score == 0 and health.scaled(500) == 500
    health.note(3)
    assert health.scaled(500) == 2000
    health.note(99)
    assert health.score == 8
    health.note(-1)
    assert health.scaled(100) == 800


def test_switched_off_it_stays_well() -> None:
    health = LocalHealth(8, enabled=False)
    health.note(5)
    assert health.scaled(500) == 500
