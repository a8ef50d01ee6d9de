"""What the log is told again, and what not."""

from marmoset.runtime.news import QUIET_S, TOLD_MAX, News


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_the_same_trouble_with_the_same_peer_is_told_once_a_minute() -> None:
    clock = Clock()
    news = News(clock)
    assert news.is_news("bea", "bad frame") and not news.is_news("bea", "bad frame")
    assert news.is_news("cy", "bad frame") and news.is_news("bea", "no key in common")
    clock.now_s = QUIET_S - 1
    assert not news.is_news("bea", "bad frame")
    clock.now_s = QUIET_S
    assert news.is_news("bea", "bad frame") and not news.is_news("bea", "bad frame")


def test_the_lines_of_whoever_tries_again_are_told_once_and_all_others_always() -> None:
    news = News(Clock())
    skewed = [{"peer": "bea", "code": "clock", "reason": f"clocks are {ms} ms apart"} for ms in (20_001, 20_017)]
    assert [news.is_worth_telling("refused a link", fields) for fields in skewed] == [True, False]
    assert news.is_worth_telling("refused a link", skewed[0] | {"peer": "cy"})
    assert news.is_worth_telling("refused a link", skewed[0] | {"reason": "another group"})
    assert all(news.is_worth_telling("link lost", {"peer": "bea"}) for _ in range(3))
    failed = {"address": "127.0.0.1:7009", "problem": "Connection refused"}
    assert news.is_worth_telling("join address does not answer, still trying", failed)
    assert not news.is_worth_telling("join address does not answer, still trying", failed)
    assert news.is_worth_telling("join address does not answer, still trying", failed | {"address": "127.0.0.1:7010"})


def test_no_more_is_remembered_than_fits() -> None:
    news = News(Clock())
    for number in range(2 * TOLD_MAX):
        assert news.is_news(f"127.0.0.{number}", "bad frame")
        assert len(news._told) <= TOLD_MAX
