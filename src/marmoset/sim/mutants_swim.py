"""Faults put in on purpose, the first half of DESIGN.md section 4 (beside the floors): who is held unreachable.

They are hunted with histories of membership alone: see `swim_history`.
"""

from typing import Any, Final

from marmoset.codec.packets import SAYS_ALIVE
from marmoset.ids import ReplicaId
from marmoset.membership import swim, view
from marmoset.membership.states import SUSPECT, UNREACHABLE, verdict
from marmoset.membership.suspicion import Suspicion
from marmoset.sim.hunting import MEMBERSHIP, Mutant, Patch


def _never_refuted() -> list[Patch]:
    """A suspect does not say anything when it hears that it is one."""
    return [(view.View, "defend", lambda self, kind, incarnation: None)]


def _refuted_as_before() -> list[Patch]:
    """A suspect says that it is alive, under the incarnation under which it is suspected."""

    def defend(self: Any, kind: int, incarnation: int) -> None:
        if kind != SAYS_ALIVE and incarnation >= self.incarnation:
            self.refutations += 1
            self._pass_on(SAYS_ALIVE, self.me, self.incarnation, self.me)

    return [(view.View, "defend", defend)]


def _old_word_revives() -> list[Patch]:
    """That somebody is alive is believed under the same incarnation too."""

    def lenient(state: str, kind: int, claimed: int, known: int) -> str:
        newer = kind == SAYS_ALIVE and state in (SUSPECT, UNREACHABLE) and claimed == known
        return verdict(state, kind, claimed + newer, known)

    return [(view, "verdict", lenient)]


def _confirmed_by_one() -> list[Patch]:
    """Whoever suspects somebody twice confirms its own suspicion."""

    def confirm(self: Any, accuser: ReplicaId) -> bool:
        if len(self.accusers) > self.needed:
            return False
        self.accusers.add(accuser if accuser not in self.accusers else -len(self.accusers))
        self.due_ms = self._due_ms()
        return True

    return [(Suspicion, "confirm", confirm)]


def _never_probed_again() -> list[Patch]:
    """Who is unreachable is left alone."""
    return [(swim.Swim, "_retry", lambda self: None)]


def _unreachable_forgotten() -> list[Patch]:
    """Who is unreachable is followed no more."""
    tick = swim.Swim.tick

    def forget(self: Any, now_ms: int) -> None:
        tick(self, now_ms)
        for replica in sorted(self.view.unreachable):
            self.remove(replica)

    return [(swim.Swim, "tick", forget)]


def _unreachable_accuse() -> list[Patch]:
    """Whoever is unreachable himself is believed when he accuses others."""
    return [(view.View, "_is_believed", lambda self, by: True)]


def _shortest_time_for_all() -> list[Patch]:
    """A suspicion lasts the shortest time, whoever confirms it."""
    return [(Suspicion, "_due_ms", lambda self: self.began_ms + self.shortest_ms)]


def _pause_blames_others() -> list[Patch]:
    """Time that was lost counts against the others."""
    return [(swim.Swim, "_notice_pause", lambda self, now_ms: None)]


def _mutant(name: str, says: str, patches: Any, budget: int = 30) -> Mutant:
    return Mutant(name, "4", says, patches, MEMBERSHIP, budget)


MUTANTS_SWIM: Final[tuple[Mutant, ...]] = (
    _mutant("never refuted", "a suspicion is not refuted", _never_refuted),
    _mutant("refuted as before", "a refutation under the same incarnation", _refuted_as_before),
    _mutant("an old word revives", "alive wins under the same incarnation", _old_word_revives),
    _mutant("confirmed by one", "the same member confirms its own suspicion", _confirmed_by_one),
    _mutant("never probed again", "who is unreachable is left alone", _never_probed_again),
    _mutant("unreachable forgotten", "who is unreachable is not followed", _unreachable_forgotten),
    _mutant("the unreachable accuse", "who is unreachable takes others down", _unreachable_accuse),
    _mutant("shortest time for all", "one accuser is as good as many", _shortest_time_for_all),
    _mutant("pause blames others", "lost time counts against the others", _pause_blames_others),
)
