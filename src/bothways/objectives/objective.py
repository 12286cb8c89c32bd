"""What a pretraining objective is: the answers to three questions about a row of text, and nothing else.

1. corrupt: what is hidden or replaced?
2. arrange: what may each position see?
3. predict: what are the targets, where, through which head?

Letters: T tokens in a row, S tokens once scaffolding is placed behind the text (S >= T), N targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bothways.batch import Batch, Losses, Row, Sample, Target
from bothways.model import Abilities
from bothways.visibility import Layout, Visibility, ordered, places

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bothways.model import Model, ModelConfig, PartFactory


@dataclass(frozen=True, slots=True)
class Corrupted:
    """A row after the first question.

    row      the text as it was: the labels are read from it
    tokens   [S] what the model reads
    chosen   [T] bool: which tokens of the text must be predicted
    part     [T] int32: 0 the source, 1 the target (or the number of a block), for those who tell them apart
    weight   how many tokens of text one target stands for, one number or one for each token [T]; see `Objective`
    by       in a mixture, the member that drew this row
    also     what must be predicted beside the chosen tokens
    layout   of tokens that are laid anew, where they are not the row with scaffolding behind it (encoder-decoders)
    """

    row: Row
    tokens: np.ndarray
    chosen: np.ndarray
    part: np.ndarray
    weight: float | np.ndarray = 1.0
    by: Objective | None = None
    also: tuple[Target, ...] = ()
    layout: Layout | None = None


Corruption = Callable[[Row, np.random.Generator, float], Corrupted]
Arrangement = Callable[[Corrupted], Layout]
Prediction = Callable[[Corrupted, Layout], tuple[Target, ...]]
Loss = Callable[["Model", Batch, "torch.Generator"], Losses]
Networks = Mapping[str, tuple[Mapping[str, "Tensor"], "ModelConfig"]]


ONE_TEXT = "reads a pair as one text"
TARGET = "predicts the target of a pair after its source"


@dataclass(frozen=True, slots=True)
class About:
    """What a reader or a program wants to know before choosing an objective.

    summary  one line
    paper    where it comes from
    teaches  what the saved model can do; its objective and rule are the objective's own
    needs    what the corpus must hold
    differs  how this differs from the paper, where it does
    bound    the loss, weighted and summed over a row, bounds the row's negative log-likelihood from above
    requires what the shards must hold, or no run is started: "pairs", "languages", "word starts"
    pairs    what it does with a source and a target (`Row.part`)
    """

    summary: str
    paper: str
    teaches: Abilities
    needs: str = "text"
    differs: str = ""
    bound: bool = False
    requires: frozenset[str] = frozenset()
    pairs: str = ONE_TEXT


class Corpus(Protocol):
    """What an objective may know of the training text: a function in OBJECTIVES with an argument `corpus` gets it from
    `build`. Letters: V tokens in the vocabulary, N places."""

    def counts(self) -> np.ndarray:
        """[V] how often each token stands in it."""

    def fillers(self) -> Mapping[int, Filler]:
        """{number of a language: what draws a token of it to stand between two}."""


class Filler(Protocol):
    """An n-gram model that looks to both sides."""

    def draw(self, left: np.ndarray, right: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A token of text for each place, given the tokens beside it: [N], [N] -> [N]."""


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """One declaration, made of shared parts; it touches neither the model nor the training loop.

    corrupt   (row, rng, progress) -> Corrupted; progress runs from 0 to 1 over the run (rate schedules), and all
              randomness of a row is drawn here, so that the other two are plain functions
    arrange   Corrupted -> Layout of S tokens
    predict   (Corrupted, Layout) -> targets; those without a name take the objective's
    rule      who sees whom, given the layout
    loss      (model, batch, generator) -> Losses; None is the plain loss: cross-entropy at the targets. What it does
              not reach in a step stays as it is
    heads     for what is predicted in other ways than by a word: `model.heads[name]`
    parts     other networks that the loss needs: `model.parts[name]`
    rates     of its parts: {name: times the model's learning rate}; of others 1
    names     of its losses, where they are not one loss with the objective's own name
    segments  how many segments it marks the parts of a row with, which then cannot tell languages; 0: none
    members   of a mixture or a schedule: each with its share of the rows
    phases    of a schedule: the progress at which each ends
    networks  (weights, shape) -> what is saved: the model under "", others by name; None saves the model as it is
    flops     (shape, sample) -> FLOPs of training on it; None counts one network that reads the sample once

    The loss to minimise is one weighted mean over all predictions of the batch, sum of sums over sum of weights. A
    target's weight is the number of tokens it stands for: 1 where every token is predicted, 1/rate where a share is.
    So every row counts alike, whichever objective drew it and however few targets it has.
    """

    name: str
    corrupt: Corruption
    arrange: Arrangement
    predict: Prediction
    about: About
    rule: Visibility = ordered
    loss: Loss | None = None
    heads: Mapping[str, PartFactory] = field(default_factory=dict)
    parts: Mapping[str, PartFactory] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    segments: int = 0
    members: tuple[tuple[Objective, float], ...] = ()
    phases: tuple[float, ...] = (1.0,)
    networks: Callable[[Mapping[str, Tensor], ModelConfig], Networks] | None = None
    flops: Callable[[ModelConfig, Sample], float] | None = None

    def __repr__(self) -> str:
        return f"Objective({self.name}: {self.about.summary})"

    def sample(self, row: Row, rng: np.random.Generator, progress: float) -> Sample:
        """corrupt -> arrange -> predict; `rng` is the row's own stream, `progress` 0..1."""
        corrupted = self.corrupt(row, rng, progress)
        layout = self.arrange(corrupted)
        name = (corrupted.by or self).name
        targets = tuple(
            replace(target, name=name) if target.name == "loss" else target
            for target in self.predict(corrupted, layout)
        )
        return Sample(corrupted.tokens, layout, targets)

    def cost(self, config: ModelConfig, sample: Sample) -> float:
        """FLOPs of training on a sample, counted as `ModelConfig.flops_per_token` does; of a schedule, see `stages`."""
        if self.flops is not None:
            return self.flops(config, sample)
        tokens = len(sample.tokens)
        predicted = sum(len(target.at) for target in sample.targets if target.head == "words")
        return tokens * config.flops_per_token(length=tokens, predicted=predicted / tokens)

    @property
    def stages(self) -> tuple[tuple[float, Objective], ...]:
        """(the progress at which it ends, the objective) of each phase."""
        if len(self.phases) == 1:
            return ((1.0, self),)
        return tuple((end, phase) for end, (phase, _) in zip(self.phases, self.members, strict=True))

    @property
    def turns(self) -> tuple[float, ...]:
        """The progress at which a phase with one loss ends and one with another begins, one of them its own."""
        pairs = zip(self.stages, self.stages[1:], strict=False)
        return tuple(end for (end, one), (_, other) in pairs if one.loss or other.loss)

    def leaves(self) -> Iterator[tuple[Objective, float]]:
        """The objectives that draw rows, each with its share of them: itself, or the members' members."""
        if not self.members:
            yield self, 1.0
        for member, share in self.members:
            for leaf, part in member.leaves():
                yield leaf, share * part

    @property
    def encoder_decoder(self) -> bool:
        """Whether it is for an encoder-decoder."""
        return "seq2seq" in self.about.teaches.decoding

    @property
    def abilities(self) -> Abilities:
        """What it teaches, as it is saved with the model."""
        return replace(self.about.teaches, objective=self.name, rule=self.rule.name)

    @property
    def shares(self) -> dict[str, float]:
        """{name of a loss: share of the rows that have it}, for every loss; equal names are one."""
        shares: dict[str, float] = {}
        for leaf, share in self.leaves():
            for name in leaf.names or (leaf.name,):
                shares[name] = shares.get(name, 0.0) + share
        return shares


def sides(row: Row, separator: int) -> np.ndarray:
    """[T] int32: 1 on the second side of a pair, behind the [SEP] that parts it; 0 elsewhere.

    tokens  [CLS] a b [SEP] A B [SEP] [CLS] c d [SEP]
    side      0   0 0   0   1 1   1     0   0 0   0
    """
    parts = row.tokens == separator
    parts[:-1] &= row.document[1:] == row.document[:-1]  # the last [SEP] of a document parts nothing
    parts[-1:] = False
    before = np.cumsum(parts) - parts
    start = np.arange(len(row)) - places(row.document)
    return np.asarray(before > before[start], dtype=np.int32)
