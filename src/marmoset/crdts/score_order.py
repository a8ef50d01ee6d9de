"""Entries in the order of their scores, and of their members where scores are equal (floor 3).

What a sorted set is ordered by: pairs of a double and a member, no pair twice. They lie in blocks of at most
`BLOCK_ENTRIES`, the blocks side by side, each with its scores in doubles that are no objects (`crdts.doubles`) and its
members in a list: an entry costs 16 bytes and some slack, a search within a block touches little memory, and no object
is made for a pair.

Between two blocks stands a *bound*, a pair above everything before it and not above anything behind it, be it an entry
or not; bounds move only where blocks split and merge.

Within a block scores are searched first, and members among those that are equal; or members alone where the bounds
around the block say that all its scores are equal. So a set of equal scores costs what one of different scores costs.

Costs: a search O(log n). A change moves O(block) pointers and doubles besides, and at times bounds, O(blocks), which a
split pays after at least half a block of additions, a merge after a quarter of a block of removals. Ranks add up the
sizes of groups of blocks and then of blocks, O(log n + blocks / `GROUP_BLOCKS` + `GROUP_BLOCKS`): some hundred numbers
in the middle of a million entries. The first rank after a split or merge adds up the groups behind it again, O(blocks).
There are at most 8 n / `BLOCK_ENTRIES` blocks, commonly 1.4 n / `BLOCK_ENTRIES`, n / `BLOCK_ENTRIES` if entries came in
order. Below, O(ranks) stands for the cost of a rank without its O(log n).

NaN has no place in the order: nobody may put one here.
"""

import bisect
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Final, final

from librt.vecs import append, extend, pop, vec

from marmoset.crdts.doubles import first_above, first_not_below, inserted, inserted_at_once

if TYPE_CHECKING:  # machine integers in compiled code; interpreted code has no use for them
    from mypy_extensions import i64

BLOCK_ENTRIES: Final = 128
"""A block with more entries is split. Searches and moves within a block weigh against the number of blocks."""

GROUP_SHIFT: Final = 6
GROUP_BLOCKS: Final = 1 << GROUP_SHIFT
"""Blocks whose sizes are added up once for all ranks."""

EQUAL_STEPS: Final = 2
"""So many equal scores are passed one by one before their end is searched: mostly there are few, or very many."""

_left: Final = bisect.bisect_left  # compiled code looks names of other modules up whenever they are used


@final
class Block:
    """Entries that follow each other: the score and the member of one are at the same place in both."""

    __slots__ = ("members", "scores")

    def __init__(self, scores: vec[float], members: list[bytes]) -> None:
        self.scores = scores
        self.members = members

    def insert(self, place: int, score: float, member: bytes) -> None:
        """Put an entry in. O(block)."""
        self.scores = inserted(self.scores, place, score)
        self.members.insert(place, member)


@final
class ScoreOrder:
    """Pairs of a score and a member, in order."""

    __slots__ = ("_block_entries", "_blocks", "_bound_members", "_bounds", "_groups", "_size", "_sizes")

    def __init__(self, block_entries: int = BLOCK_ENTRIES) -> None:
        assert block_entries >= 4
        self._block_entries = block_entries
        self._size = 0
        self._blocks = [Block(vec[float](), [])]  # never none: a single one may be empty
        self._sizes = [0]
        self._groups: list[int] = []  # the sizes of the first groups; the others are added up when somebody asks
        self._bounds = vec[float]()  # the one at a place stands behind the block at that place
        self._bound_members: list[bytes] = []

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[tuple[float, bytes]]:
        for block in self._blocks:
            yield from zip(block.scores, block.members, strict=True)

    # -- changes

    def add(self, score: float, member: bytes) -> None:
        """Put an entry in that is not there. O(log n + block), at times O(blocks) more."""
        at = self._block_of(score, member)
        place = self._place(at, score, member)
        block = self._blocks[at]
        size = self._sizes[at]
        self._size += 1
        if size == self._block_entries:
            if place == size and at == len(self._blocks) - 1:  # entries that come in order leave full blocks behind
                self._insert_block(at + 1, Block(append(vec[float](), score), [member]))
                return
            block.insert(place, score, member)
            self._split(at)
        else:
            block.insert(place, score, member)
            self._sizes[at] = size + 1
            group = at >> GROUP_SHIFT
            if group < len(self._groups):
                self._groups[group] += 1

    def remove(self, score: float, member: bytes) -> bytes:
        """Take an entry out that is there: its member, the object that was put in. O(log n + block), at times O(blocks)
        more."""
        at = self._block_of(score, member)
        place = self._place(at, score, member)
        members = self._blocks[at].members
        assert place < len(members) and members[place] == member, "an entry that is not there"
        kept = members[place]
        self._take(at, place)
        return kept

    def pop(self) -> None:
        """Take the last entry out, of one entry or more. O(1), at times O(block)."""
        at = len(self._blocks) - 1
        self._take(at, self._sizes[at] - 1)

    def _take(self, at: int, place: int) -> None:
        block = self._blocks[at]
        block.scores, _ = pop(block.scores, place)
        del block.members[place]
        self._size -= 1
        size = self._sizes[at] - 1
        self._sizes[at] = size
        group = at >> GROUP_SHIFT
        if group < len(self._groups):
            self._groups[group] -= 1
        if 4 * size < self._block_entries and len(self._bounds):
            self._merge(at)

    # -- blocks

    def _block_of(self, score: float, member: bytes) -> int:
        """The block that an entry is in, or belongs into. O(log blocks)."""
        bounds, bound_members = self._bounds, self._bound_members
        at: i64 = 0
        stop: i64 = len(bounds)
        while at < stop:
            middle: i64 = (at + stop) >> 1
            bound = bounds[middle]
            if bound < score or (bound == score and bound_members[middle] <= member):
                at = middle + 1
            else:
                stop = middle
        return at

    def _place(self, at: int, score: float, member: bytes) -> int:
        """Where in its block an entry is, or belongs. O(log block)."""
        block, bounds = self._blocks[at], self._bounds
        scores, members = block.scores, block.members
        if at > 0 and bounds[at - 1] == score and at < len(bounds) and bounds[at] == score:
            return int(_left(members, member))  # what is between equal scores is equal
        size = len(members)
        place = first_not_below(scores, score)
        steps = 0
        while place < size and scores[place] == score and members[place] < member:
            place += 1
            if steps == EQUAL_STEPS:
                stop = size if scores[size - 1] == score else first_above(scores, score)
                return int(_left(members, member, place, stop))
            steps += 1
        return place

    def _insert_block(self, at: int, block: Block) -> None:
        """Put a block in behind another one, whose size may have changed. O(blocks)."""
        del self._groups[(at - 1) >> GROUP_SHIFT :]
        self._blocks.insert(at, block)
        self._sizes.insert(at, len(block.members))
        self._bounds = inserted_at_once(self._bounds, at - 1, block.scores[0])
        self._bound_members.insert(at - 1, block.members[0])

    def _delete_block(self, at: int) -> None:
        """Take a block out, which is not the only one, with the bound before it, or the first one's; the size of the
        block before may have changed. O(blocks)."""
        bound = at - 1 if at else 0
        del self._groups[bound >> GROUP_SHIFT :]
        del self._blocks[at]
        del self._sizes[at]
        self._bounds, _ = pop(self._bounds, bound)
        del self._bound_members[bound]

    def _split(self, at: int) -> None:
        """Make two blocks of one. O(block + blocks)."""
        block = self._blocks[at]
        scores, members = block.scores, block.members
        half = len(members) // 2
        block.scores, block.members = scores[:half], members[:half]  # slices have no slack, as what is cut off has
        self._sizes[at] = half
        self._insert_block(at + 1, Block(scores[half:], members[half:]))

    def _merge(self, at: int) -> None:
        """Join a block that is less than a quarter full with the smaller one beside it, if both fill at most half of
        one; so no two such blocks are ever beside each other. An empty block goes. O(block + blocks)."""
        sizes = self._sizes
        if not sizes[at]:
            self._delete_block(at)
            return
        if at == len(sizes) - 1 or (at > 0 and sizes[at - 1] <= sizes[at + 1]):
            at -= 1
        size = sizes[at] + sizes[at + 1]
        if 2 * size <= self._block_entries:
            block, following = self._blocks[at], self._blocks[at + 1]
            block.scores = extend(block.scores, following.scores)
            block.members.extend(following.members)
            sizes[at] = size
            self._delete_block(at + 1)

    # -- ranks

    def rank(self, score: float, member: bytes) -> int:
        """How many entries stand before one that is there. O(log n + ranks)."""
        at = self._block_of(score, member)
        return self._before_block(at) + self._place(at, score, member)

    def before(self, score: float, *, including: bool) -> int:
        """How many entries have a lower score, or, `including`, one as high. O(log n + ranks)."""
        if including:
            at = first_above(self._bounds, score)
            return self._before_block(at) + first_above(self._blocks[at].scores, score)
        at = first_not_below(self._bounds, score)
        return self._before_block(at) + first_not_below(self._blocks[at].scores, score)

    def slice(self, start: int, stop: int) -> list[bytes]:
        """The members at ranks from `start` to before `stop`, both within the order. O(ranks + length)."""
        wanted = stop - start
        if wanted <= 0:
            return []
        sizes, place, group = self._sizes, start, 0
        while place >= self._group(group):
            place -= self._groups[group]
            group += 1
        at = group << GROUP_SHIFT
        while place >= sizes[at]:
            place -= sizes[at]
            at += 1
        found = self._blocks[at].members[place : place + wanted]
        while len(found) < wanted:
            at += 1
            found += self._blocks[at].members[: wanted - len(found)]
        return found

    def _before_block(self, at: int) -> int:
        """How many entries stand in the blocks before one. O(ranks)."""
        group = at >> GROUP_SHIFT
        if group:
            self._group(group - 1)
        return sum(self._groups[:group]) + sum(self._sizes[group << GROUP_SHIFT : at])

    def _group(self, group: int) -> int:
        """How many entries are in the blocks of a group. O(1), O(blocks) if sizes are to be added up."""
        groups, sizes = self._groups, self._sizes
        while len(groups) <= group:
            first = len(groups) << GROUP_SHIFT
            groups.append(sum(sizes[first : first + GROUP_BLOCKS]))
        return groups[group]

    def _check(self) -> None:
        blocks, sizes = self._blocks, self._sizes
        assert sizes == [len(block.members) for block in blocks] == [len(block.scores) for block in blocks]
        assert self._size == sum(sizes) and max(sizes) <= self._block_entries
        assert all(sizes) or sizes == [0], "an empty block is kept"
        firsts = range(0, GROUP_BLOCKS * len(self._groups), GROUP_BLOCKS)
        assert self._groups == [sum(sizes[first : first + GROUP_BLOCKS]) for first in firsts]
        entries = list(self)
        assert all(left < right for left, right in pairwise(entries))
        bounds = list(zip(self._bounds, self._bound_members, strict=True))
        assert len(bounds) == len(blocks) - 1
        for at, bound in enumerate(bounds):
            before, behind = blocks[at], blocks[at + 1]
            assert (before.scores[-1], before.members[-1]) < bound <= (behind.scores[0], behind.members[0])
            assert 4 * max(sizes[at], sizes[at + 1]) >= self._block_entries, "small blocks beside each other"
