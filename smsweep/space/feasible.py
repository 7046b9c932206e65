"""Draws params that meet constraints, from the exact law of the space under the constraints.

Plain draws are repeated a few times. If none meets the constraints, the unit cube of the constrained parameters is
split into boxes. Interval arithmetic discards boxes that contain no valid params and recognizes boxes that contain
only valid params. The volume of a box is its probability, so a draw from the other boxes has the right law. All
boxes depend only on the space, never on earlier draws.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from smsweep.errors import SpaceError
from smsweep.space.belief import Belief, believed_value
from smsweep.space.choices import Categorical, CategoricalWithProbabilities, Constant
from smsweep.space.distribution import Distribution
from smsweep.space.expression import Span, interval, span_of
from smsweep.space.numeric import IntUniform
from smsweep.space.structure import Structure

PLAIN_DRAWS = 16  # before the first box, unless valid params are rare
PROBES = 64  # plain draws that decide whether they are rare
RARE = 8  # rare: fewer than one of so many draws
LEVELS = ((256, 64), (4_096, 1_024))  # splits of the cube so far, then draws from its boxes
MAX_SPLITS = 16_384  # to decide whether any params meet the constraints
FINAL_DRAWS = 16_384
MAX_COMPARED = 6  # dimensions that are compared for a split; of more, the widest
ENOUGH = 0.5  # no more splits if so much of the remaining volume is certain to be valid
NARROWEST = 1e-12  # edge of a box that is not split
N_MOVES = 20  # changes of each coordinate, if valid params are known but too rare to draw

Edge = tuple[float, float]  # in units of `_Dimension.n`


@dataclass(frozen=True, slots=True)
class _Box:
    edges: tuple[Edge, ...]  # one per dimension
    volume: float  # the probability of the box
    spans: tuple[Span, ...]


class _Dimension:
    """One constrained parameter: an edge of the unit cube, or the numbered positions of a listed parameter."""

    def __init__(self, leaf: Distribution) -> None:
        self.leaf = leaf
        self._values: tuple[Any, ...] = ()
        self._reach: list[float] = []  # running sums of the probabilities of the positions
        self.n = 0  # number of positions; 0 for an edge of the cube
        if isinstance(leaf, IntUniform):
            self.n = leaf.size
        elif isinstance(leaf, (Categorical, Constant)):
            self._values = leaf.values if isinstance(leaf, Categorical) else (leaf.value,)
            self.n = len(self._values)
        elif isinstance(leaf, CategoricalWithProbabilities):
            kept = [(v, p) for v, p in zip(leaf.values, leaf.probabilities, strict=True) if p > 0]
            self._values = tuple(value for value, _ in kept)
            self._reach = [0.0, *itertools.accumulate(p for _, p in kept)]
            self.n = len(kept)

    @property
    def whole(self) -> Edge:
        return (0, self.n) if self.n else (0.0, 1.0)

    def volume(self, edge: Edge) -> float:
        low, high = edge
        if self._reach:
            return (self._reach[int(high)] - self._reach[int(low)]) / self._reach[-1]
        return (high - low) / (self.n or 1)

    def span(self, edge: Edge) -> Span:
        """Return the span of the values on an edge."""
        low, high = edge
        if isinstance(self.leaf, IntUniform):
            return interval(self.leaf.min + int(low), self.leaf.min + int(high) - 1)
        if self.n:
            return span_of(self._values[int(low) : int(high)])
        return interval(self.leaf.ppf(low), self.leaf.ppf(high))

    def split(self, edge: Edge, span: Span) -> tuple[Edge, Edge] | None:
        """Return both halves of an edge; None if it has a single value."""
        low, high = edge
        if self.n:
            if high - low < 2:
                return None
            middle: float = (int(low) + int(high)) // 2
        else:
            if high - low < NARROWEST or span.low == span.high:
                return None
            middle = (low + high) / 2
        return (low, middle), (middle, high)

    def draw(self, edge: Edge, rng: random.Random) -> Any:
        low, high = edge
        if self._reach:
            first, last = self._reach[int(low)], self._reach[int(high)]
            place = bisect.bisect_right(self._reach, first + rng.random() * (last - first)) - 1
            return self._values[min(max(place, int(low)), int(high) - 1)]
        if self.n:
            place = min(int(low + rng.random() * (high - low)), int(high) - 1)
            return self._values[place] if self._values else self.leaf.ppf((place + 0.5) / self.n)
        return self.leaf.ppf(min(low + rng.random() * (high - low), high))


class _Partition:
    """The boxes that can contain valid params, after a number of splits."""

    def __init__(self, structure: Structure, involved: Sequence[int]) -> None:
        self._structure = structure
        self._involved = involved
        self.dimensions = [_Dimension(structure.leaves[i]) for i in involved]
        self._numbers = itertools.count()
        self._n_splits = 0
        self._valid: list[_Box] = []
        self._open: list[tuple[float, int, _Box]] = []  # a heap, the largest box first
        self._stuck: list[_Box] = []  # boxes that cannot be split
        self._valid_volume = self._open_volume = 0.0
        edges = tuple(each.whole for each in self.dimensions)
        spans = tuple(map(_Dimension.span, self.dimensions, edges))
        self._add(_Box(edges, 1.0, spans), self._verdict(spans))

    def split_until(self, n_splits: int) -> None:
        """Split the largest uncertain boxes, up to a total number of splits."""
        while self._open and self._n_splits < n_splits:
            if self._valid_volume >= ENOUGH * (self._valid_volume + self._open_volume):
                return
            _, _, box = heapq.heappop(self._open)
            self._open_volume -= box.volume
            self._n_splits += 1
            halves = self._best_split(box)
            if halves is None:
                self._add_single(box)
            for half, verdict in halves or ():
                self._add(half, verdict)

    def _add(self, box: _Box, verdict: bool | None) -> None:
        if verdict:
            self._valid.append(box)
            self._valid_volume += box.volume
        elif verdict is None:
            heapq.heappush(self._open, (-box.volume, next(self._numbers), box))
            self._open_volume += box.volume

    def _add_single(self, box: _Box) -> None:
        """Add a box that cannot be split, unless its only values do not meet the constraints."""
        values: list[Any] = [None] * len(self._structure.leaves)
        for i, span in zip(self._involved, box.spans, strict=True):
            if span.listed is None:
                self._stuck.append(box)
                return
            values[i] = span.listed[0]
        if self._structure.is_feasible(self._structure.active(values)):
            self._add(box, True)

    def _verdict(self, spans: Sequence[Span]) -> bool | None:
        return self._structure.verdict(dict(zip(self._involved, spans, strict=True)))

    def _best_split(self, box: _Box) -> list[tuple[_Box, bool | None]] | None:
        """Return the halves of the split that decides the most volume; None if no dimension can be split."""
        candidates = []
        for j, (dimension, edge, span) in enumerate(zip(self.dimensions, box.edges, box.spans, strict=True)):
            if (parts := dimension.split(edge, span)) is not None:
                candidates.append((-dimension.volume(edge), j, parts))
        best, best_score = None, -1.0
        for _, j, parts in sorted(candidates)[:MAX_COMPARED]:
            whole = self.dimensions[j].volume(box.edges[j])
            halves = []
            for part in parts:
                spans = (*box.spans[:j], self.dimensions[j].span(part), *box.spans[j + 1 :])
                edges = (*box.edges[:j], part, *box.edges[j + 1 :])
                half = _Box(edges, box.volume * self.dimensions[j].volume(part) / whole, spans)
                halves.append((half, self._verdict(spans)))
            score = sum(half.volume for half, verdict in halves if verdict is not None)
            if score > best_score:
                best, best_score = halves, score
        return best

    def boxes(self) -> list[_Box]:
        """Return all boxes that can contain valid params."""
        return [*self._valid, *(box for _, _, box in sorted(self._open)), *self._stuck]


class FeasibleDraws:
    """Draws of values that meet the constraints of a structure.

    Args:
        structure: The leaves with their conditions and constraints.
        beliefs: The belief about each leaf, or None. A draw uses them unless valid params are rare.
    """

    def __init__(self, structure: Structure, beliefs: Sequence[Belief | None] = ()) -> None:
        self._structure = structure
        self._beliefs = beliefs or [None] * len(structure.leaves)
        self._involved = structure.involved()
        self._levels: list[tuple[list[_Box], list[float], int]] = []
        self._partition = _Partition(structure, self._involved)
        self._witness: list[Any] | None = None
        self._n_plain: int | None = None
        self.n_draws = 0  # draws so far, for measurements

    def draw(self, rng: random.Random) -> list[Any]:
        """Draw one value per leaf, MISSING for a leaf that does not exist.

        Raises:
            SpaceError: No params that meet the constraints are known.
        """
        drawn = [self._sample(i, rng) for i in range(len(self._structure.leaves))]
        for values in itertools.chain(self._plain(drawn, rng), self._from_boxes(drawn, rng)):
            if values is not None:
                return values
        return self._near_witness(drawn, rng)

    def check(self) -> None:
        """Raise SpaceError if no params meet the constraints, or none are found in a limited search."""
        self._find_witness()

    def _sample(self, i: int, rng: random.Random) -> Any:
        leaf, belief = self._structure.leaves[i], self._beliefs[i]
        return leaf.sample(rng) if belief is None else believed_value(leaf, belief, rng.random())

    def _checked(self, drawn: list[Any]) -> list[Any] | None:
        self.n_draws += 1
        values = self._structure.active(drawn)
        return values if self._structure.is_feasible(values) else None

    def _plain(self, drawn: list[Any], rng: random.Random) -> Iterator[list[Any] | None]:
        yield self._checked(drawn)
        for _ in range(self._plain_draws()):
            self._redraw(drawn, rng)
            yield self._checked(drawn)

    def _redraw(self, drawn: list[Any], rng: random.Random) -> None:
        for i in self._involved:  # other parameters are independent of the constraints
            drawn[i] = self._sample(i, rng)

    def _plain_draws(self) -> int:
        """Return the number of plain draws before the first box."""
        if self._n_plain is None:
            rng = random.Random(0)  # noqa: S311 - reproducible, not a secret
            drawn = [leaf.sample(rng) for leaf in self._structure.leaves]
            n_valid = 0
            for _ in range(PROBES):
                self._redraw(drawn, rng)
                n_valid += self._structure.is_feasible(self._structure.active(drawn))
            self._n_plain = PLAIN_DRAWS if n_valid * RARE >= PROBES else 0
        return self._n_plain

    def _from_boxes(self, drawn: list[Any], rng: random.Random) -> Iterator[list[Any] | None]:
        for level in range(len(LEVELS)):
            boxes, reach, n_draws = self._level(level)
            for _ in range(n_draws if boxes else 0):
                yield self._draw_in(boxes, reach, drawn, rng)

    def _draw_in(
        self, boxes: list[_Box], reach: list[float], drawn: list[Any], rng: random.Random
    ) -> list[Any] | None:
        box = boxes[min(bisect.bisect_right(reach, rng.random() * reach[-1]), len(boxes) - 1)]
        for i, dimension, edge in zip(self._involved, self._partition.dimensions, box.edges, strict=True):
            drawn[i] = dimension.draw(edge, rng)
        return self._checked(drawn)

    def _level(self, level: int) -> tuple[list[_Box], list[float], int]:
        while len(self._levels) <= level:
            n_splits, n_draws = (*LEVELS, (MAX_SPLITS, FINAL_DRAWS))[len(self._levels)]
            self._partition.split_until(n_splits)
            boxes = self._partition.boxes()
            self._levels.append((boxes, list(itertools.accumulate(box.volume for box in boxes)), n_draws))
        return self._levels[level]

    def _find_witness(self) -> list[Any]:
        """Return values that meet the constraints. Raises SpaceError if none are found."""
        if self._witness is None:
            rng = random.Random(0)  # noqa: S311 - reproducible, not a secret
            drawn = [leaf.sample(rng) for leaf in self._structure.leaves]
            attempts = itertools.chain(
                self._plain(drawn, rng), self._from_boxes(drawn, rng), self._last(drawn, rng)
            )
            if any(values is not None for values in attempts):
                self._witness = drawn  # with a value for each leaf, also if it does not exist
        if self._witness is not None:
            return self._witness
        boxes = self._level(len(LEVELS))[0]
        if not boxes:
            raise SpaceError("no params meet the constraints; relax one of them, or widen the parameters")
        raise SpaceError(
            f"no params that meet the constraints were found, in {MAX_SPLITS:,} parts of the space and "
            f"{FINAL_DRAWS:,} draws; relax one of them (between floats, use <= and >= instead of ==), or widen "
            "the parameters"
        )

    def _last(self, drawn: list[Any], rng: random.Random) -> Iterator[list[Any] | None]:
        boxes, reach, n_draws = self._level(len(LEVELS))
        for _ in range(n_draws if boxes else 0):
            yield self._draw_in(boxes, reach, drawn, rng)

    def _near_witness(self, drawn: list[Any], rng: random.Random) -> list[Any]:
        """Return values that differ from known ones in single valid steps."""
        witness = list(self._find_witness())
        for i in set(range(len(drawn))) - set(self._involved):
            witness[i] = drawn[i]
        for i in N_MOVES * self._involved:
            moved = list(witness)
            moved[i] = self._structure.leaves[i].sample(rng)
            witness = moved if self._checked(moved) is not None else witness
        return self._structure.active(witness)
