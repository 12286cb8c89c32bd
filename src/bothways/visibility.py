"""Who sees whom, as data.

A few columns of numbers per token, and one rule over them, express every attention pattern that the objectives need;
a column that nobody uses is not there, and costs nothing. True always means *may see*; the query comes first; there is
no inverted mask anywhere.

Letters: B rows, T tokens in a row, Q queries, K keys.

The rule was checked element by element against the published masks of UniLM v1 (Dong et al. 2019, section 2.3),
block diffusion (Arriola et al. 2025, section 3) and XLNet (Yang et al. 2019, section 2.2); tests/test_visibility.py
holds the arrays.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import and_, or_
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bothways.errors import UsageError

# A column is [T] in numpy while a sample is being made and [B, T] in torch once samples are stacked into a batch.
# The rule uses nothing but ==, <, &, |, ~, so it reads both.
Column = Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Where every token of a row stands, and when it becomes known. A column that is None is 0 everywhere.

    document   tokens of different documents never meet; each padding token is a document of its own (negative)
    step       when a token becomes known; smaller is earlier, equal is simultaneous
    group      0 is the text itself; other numbers are scaffolding that nobody outside the group sees
    position   the place given to position embeddings; two tokens may share one
    hidden     True: a key that only queries of its own step see (MASS)
    anchor     a number that the tokens of a branch share with those that it is attached to (K-BERT); 0: none
    side       0 is read by an encoder, 1 by a decoder
    segment    for embeddings only: the part of the input (BERT's token types)
    language   for embeddings only: the number of the language
    modality   0 is a token of the vocabulary; other numbers are given as vectors in place of its embedding
    """

    document: Column
    step: Column
    group: Column
    position: Column
    hidden: Column = None
    anchor: Column = None
    side: Column = None
    segment: Column = None
    language: Column = None
    modality: Column = None

    @classmethod
    def of(
        cls, *, document: Column, step: Column, position: Column = None, group: Column = None, **others: Column
    ) -> Layout:
        """A layout of numpy columns [T]; without a group all is text, and positions restart with every document."""
        document = np.asarray(document, dtype=np.int32)
        return cls(
            document=document,
            step=np.asarray(step, dtype=np.int32),
            group=np.zeros_like(document) if group is None else np.asarray(group, dtype=np.int32),
            position=places(document) if position is None else np.asarray(position, dtype=np.int32),
            **{
                name: np.asarray(column, dtype=bool if name == "hidden" else np.int32)
                for name, column in others.items()
                if column is not None
            },
        )

    @property
    def columns(self) -> dict[str, Column]:
        """Those that there are, by name."""
        found = {}
        for name in self.__slots__:  # a compiler cannot follow a comprehension that names its values
            column = getattr(self, name)
            if column is not None:
                found[name] = column
        return found

    @classmethod
    def stack(cls, layouts: Sequence[Layout]) -> Layout:
        """Numpy layouts [T] of B rows -> one torch layout [B, T]."""
        return _joined(layouts, lambda columns: torch.from_numpy(np.stack(columns)))

    @classmethod
    def concat(cls, layouts: Sequence[Layout]) -> Layout:
        """Numpy layouts [T] end to end."""
        return _joined(layouts, np.concatenate)

    def padded(self, count: int) -> Layout:
        """The same numpy layout [T] with `count` padding tokens behind it, each a document of its own."""
        padded = self.map(lambda column: np.pad(column, (0, count)))
        padded.document[len(self.document) :] = int(self.document.min(initial=0)) - 1 - np.arange(count)
        return padded

    def map(self, function: Callable[[Column], Column]) -> Layout:
        """The same layout with `function` applied to every column (indexing, moving to a device)."""
        return Layout(**{name: function(column) for name, column in self.columns.items()})

    def to(self, device: torch.device | str) -> Layout:
        """The same on a device."""
        return self.map(lambda column: column.to(device))

    @property
    def real(self) -> Column:
        """True where the token is not padding."""
        return self.document >= 0


torch.utils._pytree.register_dataclass(Layout)  # so that compilers and exporters see its tensors


def _joined(layouts: Sequence[Layout], join: Callable[[list[Column]], Column]) -> Layout:
    """Column by column; one that only some of them have is 0 in the others."""
    joined = {}
    for name in Layout.__slots__:
        found = [getattr(layout, name) for layout in layouts]
        missing = sum(column is None for column in found)
        if missing == len(found):
            continue
        if missing:
            zeros = [
                layout.document < layout.document if name == "hidden" else 0 * layout.document for layout in layouts
            ]
            found = [zero if column is None else column for zero, column in zip(zeros, found, strict=True)]
        joined[name] = join(found)
    return Layout(**joined)


def places(document: np.ndarray) -> np.ndarray:
    """Positions that restart at 0 where the document number changes: [T] -> [T].

    document  0 0 0 1 1 -1
    places    0 1 2 0 1  0
    """
    index = np.arange(len(document), dtype=np.int32)
    starts = np.ones(len(document), dtype=bool)
    starts[1:] = document[1:] != document[:-1]
    return index - np.maximum.accumulate(np.where(starts, index, 0)).astype(np.int32)


Rule = Callable[[Layout, Layout], Any]
"""Columns of queries broadcast against those of keys -> a boolean array, True = may see."""


@dataclass(frozen=True)
class Visibility:
    """A rule with an algebra: `ordered & within(128)`, `ordered & (text_key | ~ahead)`."""

    rule: Rule
    name: str

    def __and__(self, other: Visibility) -> Visibility:
        return Visibility(partial(_combined, and_, self.rule, other.rule), f"({self.name} & {other.name})")

    def __or__(self, other: Visibility) -> Visibility:
        return Visibility(partial(_combined, or_, self.rule, other.rule), f"({self.name} | {other.name})")

    def __invert__(self) -> Visibility:
        return Visibility(partial(_negated, self.rule), f"~{self.name}")

    def dense(self, query: Layout, key: Layout | None = None) -> Tensor:
        """Boolean mask [B, 1, Q, K] of torch layouts [B, Q] and [B, K] (the queries themselves when left out).

        Over a layout and itself the diagonal is always set, so no attention row is ever empty.
        """
        own = key is None
        key = query if key is None else key
        mask: Tensor = self.rule(query.map(lambda c: c[:, :, None]), key.map(lambda c: c[:, None, :]))
        if own:
            mask = mask | torch.eye(mask.shape[-1], dtype=torch.bool, device=mask.device)
        return mask.unsqueeze(1)

    def across(self, query: Layout, source: Layout) -> Tensor:
        """Boolean mask [B, 1, Q, K] of what a decoder's tokens see of a source that an encoder read; padding sees all
        of it, so no attention row is empty."""
        seen: Tensor = self.dense(query, source) | ~query.real[:, None, :, None]
        return seen

    def matrix(self, layout: Layout) -> np.ndarray:
        """Boolean mask [T, T] of one numpy layout [T], diagonal set."""
        seen = self.rule(layout.map(lambda c: c[:, None]), layout.map(lambda c: c[None, :]))
        return np.asarray(seen | np.eye(len(layout.document), dtype=bool))


# Functions with names: a rule travels to other processes.
def _combined(operator: Callable[[Any, Any], Any], one: Rule, other: Rule, q: Layout, k: Layout) -> Any:
    return operator(one(q, k), other(q, k))


def _negated(rule: Rule, q: Layout, k: Layout) -> Any:
    return ~rule(q, k)


def _ordered(q: Layout, k: Layout) -> Any:
    earlier = (k.group == 0) & (k.step < q.step)
    if k.hidden is not None:
        earlier = earlier & ~k.hidden
    together = (k.step == q.step) & (k.group == q.group)
    return (k.document == q.document) & (earlier | together)


ordered = Visibility(_ordered, "ordered")
"""A token sees the text of earlier steps, and its own group within its own step.

Full attention is step = 0; causal is step = i; reversed is step = -i; prefix is 0 for the source, then 1, 2, ...
"""


def _forked(q: Layout, k: Layout) -> Any:
    return (k.document == q.document) & (k.step <= q.step) & ((k.group == 0) | (k.group == q.group))


forked = Visibility(_forked, "forked")
"""A token sees the text up to its own step, and of the other groups its own: branches that share a trunk."""


def _anchored(q: Layout, k: Layout) -> Any:
    if q.anchor is None or k.anchor is None:
        return (q.document != q.document) & (k.document != k.document)
    hangs = (q.anchor == k.anchor) & (k.anchor != 0) & ((q.group == 0) != (k.group == 0))
    return (k.document == q.document) & hangs


anchored = Visibility(_anchored, "anchored")
"""A branch and what it hangs on see each other, whatever their steps: `ordered | anchored`, the branches being groups
of their own, is the visible matrix of a text with facts of a knowledge graph (K-BERT, Liu et al. 2020, section 3.3).
"""


def _text_key(q: Layout, k: Layout) -> Any:
    return k.group == 0


def _ahead(q: Layout, k: Layout) -> Any:
    return k.position > q.position


def _within(reach: int, q: Layout, k: Layout) -> Any:
    return abs(q.position - k.position) <= reach


text_key = Visibility(_text_key, "text_key")
ahead = Visibility(_ahead, "ahead")


def within(reach: int) -> Visibility:
    """At most `reach` places away, on either side (a local window)."""
    return Visibility(partial(_within, reach), f"within({reach})")


_RULES = {rule.name: rule for rule in (ordered, forked, anchored, text_key, ahead)}
_FAMILIES: dict[str, Callable[[Any], Visibility]] = {"within": within}


def named(name: str) -> Visibility:
    """The rule of a name, which may be an expression: named("ordered & within(64)"); `Visibility.name` is one.

    Raises:
        UsageError: something else than a known rule, or an expression of known rules.
    """

    def read(node: ast.expr) -> Visibility:
        match node:
            case ast.Name(id=known) if known in _RULES:
                return _RULES[known]
            case ast.Call(func=ast.Name(id=known), args=[given], keywords=[]) if known in _FAMILIES:
                return _FAMILIES[known](ast.literal_eval(given))
            case ast.BinOp(left=left, op=ast.BitAnd(), right=right):
                return read(left) & read(right)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return read(left) | read(right)
            case ast.UnaryOp(op=ast.Invert(), operand=operand):
                return ~read(operand)
        raise ValueError

    try:
        return read(ast.parse(name, mode="eval").body)
    except (ValueError, SyntaxError):
        known = ", ".join([*_RULES, *(f"{family}(...)" for family in _FAMILIES)])
        raise UsageError(f"expected a rule of visibility made of {known} with & | ~, got {name!r}") from None


def reachable(mask: np.ndarray) -> np.ndarray:
    """Transitive closure of a boolean mask [T, T]: from whom can information arrive at any depth?"""
    closure = mask | np.eye(len(mask), dtype=bool)
    while True:
        wider = (closure.astype(np.float32) @ closure.astype(np.float32)) > 0
        if (wider == closure).all():
            return closure
        closure = wider
