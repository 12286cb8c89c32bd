"""Original or replaced? A small generator fills hidden places, the model judges every token: electra, deberta-v3.

The picture shows a document of six words, `_` for [MASK], as the generator reads it; the tests read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as but
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bothways.batch import Batch, Losses, Sample, Target, Vocabulary
from bothways.errors import UsageError, unknown
from bothways.model import Abilities, Model, ModelConfig, PartFactory
from bothways.model.generator import Generator, generator_shape, standing_alone
from bothways.model.heads.binary import copied, copied_or_predicted, replaced
from bothways.model.losses import with_extra
from bothways.model.passing import Pass
from bothways.objectives.arrangements import together
from bothways.objectives.corruptions import Rate, rate_at
from bothways.objectives.masked import masking
from bothways.objectives.objective import About, Corrupted, Networks, Objective
from bothways.objectives.predictions import in_place
from bothways.visibility import Layout

SHARING = ("shared", "separate", "disentangled")
PREDICT = {
    "all": "discriminator",
    "hidden": "discriminator",
    "words": "replace-mlm",
    "all-words": "all-tokens-mlm",
    "masked": "mlm",
    "nothing": None,
}
"""{what the model predicts: the name of its loss}"""
GENERATOR = "generator"
DIFFERENCE = "embeddings_difference"


@dataclass(frozen=True, slots=True)
class GeneratorOptions:
    """The generator beside the model.

    generator    its width, as a share of the model's
    layers       the share of its layers
    sharing      of the embeddings: shared; separate; disentangled: the model's are the generator's, through which its
                 gradient does not pass, plus a difference that begins at zero (DeBERTa-v3)
    pace         its learning rate, as a share of the model's
    temperature  of its draws: below 1 what it holds likely is drawn oftener, far above 1 any token; 2->1 goes from one
                 to the other

    Raises:
        UsageError: a number out of range, or an unknown word.
    """

    generator: float = 0.25
    layers: float = 1.0
    sharing: str = "shared"
    pace: float = 1.0
    temperature: Rate = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.generator <= 1 or not 0 < self.layers <= 1:
            raise UsageError(
                "generator and layers are shares of the model's width and layers, above 0 and at most 1, got "
                f"{self.generator} and {self.layers}"
            )
        if self.sharing not in SHARING:
            raise unknown("value of sharing", self.sharing, SHARING)
        if self.pace <= 0:
            raise UsageError(f"pace is the generator's learning rate over the model's, above 0, got {self.pace:g}")
        if min(rate_at(self.temperature, 0.0), rate_at(self.temperature, 1.0)) <= 0:
            raise UsageError(f"temperature is that of the generator's draws, above 0, got {self.temperature}")

    @property
    def shape(self) -> dict[str, Any]:
        """Its size, as `generator_shape` takes it."""
        return {"width": self.generator, "layers": self.layers}

    @property
    def parts(self) -> dict[str, PartFactory]:
        """The generator and, between disentangled embeddings, the difference."""
        small = partial(Generator, **self.shape, own_embeddings=self.sharing == "separate")
        return {GENERATOR: small} | ({DIFFERENCE: _Difference} if self.sharing == "disentangled" else {})


def electra(
    vocabulary: Vocabulary,
    *,
    rate: Rate = 0.15,
    weight: float | None = None,
    predict: str = "all",
    beside: GeneratorOptions = GeneratorOptions(),
) -> Objective:
    """Of every token: is it the original, or did the generator put it there? A right guess counts as original.

    Where the generator fills, it reads [MASK] in 85 % of the places and the token itself in 15 %.

    rate     share of the text that the generator fills, drawn without replacement
    weight   of the model's mean loss against the generator's; left out, 50, and 1 where words are predicted
    predict  all: original or replaced, everywhere; hidden: only where the generator filled; words: the original word
             there (Replace MLM); all-words: the original word everywhere, with a gate to copy it (All-Tokens MLM);
             masked: the original word where it is hidden, of the text before the generator fills it; nothing: the
             generator learns alone
    beside   the generator: generator (its width), layers, sharing, pace, temperature (`GeneratorOptions`)

    reads     a b _ d e f
    step      0 0 0 0 0 0
    predicts  . . c . . .
    sees      1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1

    Raises:
        UsageError: a number out of range, or an unknown word.
    """
    if predict not in PREDICT:
        raise unknown("value of predict", predict, PREDICT)
    if weight is not None and not weight > 0:
        raise UsageError(f"weight={weight:g}: expected a number above 0")
    named = PREDICT[predict]
    detects = named == "discriminator"
    return Objective(
        name="electra",
        corrupt=masking(vocabulary, rate=rate, words="tokens", replace="electra"),
        arrange=together,
        predict=_Questions(predict, (50.0 if detects else 1.0) if weight is None else weight),
        about=_about(predict),
        loss=partial(_loss, disentangled=beside.sharing == "disentangled", temperature=beside.temperature),
        heads={"replaced": replaced} if detects else {"copied": copied} if predict == "all-words" else {},
        parts=beside.parts,
        rates={GENERATOR: beside.pace},
        names=(GENERATOR, named) if named else (GENERATOR,),
        flops=partial(_flops, **beside.shape),
        networks=partial(_networks, **beside.shape, disentangled=beside.sharing == "disentangled"),
    )


def _about(predict: str) -> About:
    detects = PREDICT[predict] == "discriminator"
    teaches = Abilities(
        faces=("encoder",), hidden=None if detects else "in place", decoding={"detect": 0} if detects else {}
    )
    return About(
        summary="original or replaced, everywhere, after a small generator filled hidden places",
        paper="ELECTRA (Clark et al. 2020, sections 2 and 3)",
        teaches=Abilities() if predict == "nothing" else teaches,
        differs="places are drawn without replacement; the published code may draw one twice",
    )


def deberta_v3(vocabulary: Vocabulary, *, rate: Rate = 0.15, weight: float | None = None) -> Objective:
    """ELECTRA with a generator of full width and half depth, and disentangled embeddings; [MASK] always.

    reads     a b _ d e f
    step      0 0 0 0 0 0
    predicts  . . c . . .
    sees      1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1

    Raises:
        UsageError: a number out of range.
    """
    beside = GeneratorOptions(generator=1.0, layers=0.5, sharing="disentangled")
    objective = electra(vocabulary, rate=rate, weight=weight, beside=beside)
    corrupt = masking(vocabulary, rate=rate, words="tokens", replace="all-mask")
    about = but(
        objective.about,
        summary="as electra, with a generator of half depth and disentangled embeddings",
        paper="DeBERTaV3 (He et al. 2021, section 3): gradient-disentangled embedding sharing",
        differs="one optimiser for both networks; plain attention, not DeBERTa's disentangled one",
    )
    return but(objective, name="deberta-v3", corrupt=corrupt, about=about)


class _Difference(nn.Embedding):
    """What the model's token embeddings are beyond the generator's; begins at zero (`model.initialise`)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config.vocabulary, config.embedding_width or config.width)


@dataclass(frozen=True, slots=True)
class _Questions:
    """The generator's words at the hidden places, and the model's question; its labels are the original tokens."""

    predict: str
    weight: float

    def __call__(self, corrupted: Corrupted, layout: Layout) -> tuple[Target, ...]:
        (words,) = in_place(corrupted, layout)
        at, weight, tokens, name = words.at, np.asarray(self.weight), corrupted.row.tokens, PREDICT[self.predict]
        if name is None:
            return (but(words, name=GENERATOR),)
        if self.predict.startswith("all"):
            at = np.flatnonzero(corrupted.row.document >= 0)
        else:
            weight = weight * words.weight
        head = "replaced" if name == "discriminator" else "words"
        return but(words, name=GENERATOR), Target(head, at, tokens[at], weight, name=name)


def _loss(model: Model, batch: Batch, random: torch.Generator, *, disentangled: bool, temperature: Rate) -> Losses:
    """The generator's loss, its draws put into the text, and the model's loss on that text."""
    fills, *judges = sorted(batch.targets, key=lambda target: target.name != GENERATOR)
    small: Any = model.parts[GENERATOR]
    extra: dict[str, Tensor] = {}
    layout, mask = batch.layout, model.rule.dense(batch.layout)
    embeddings = model.backbone.embeddings
    its_own = small.embeddings or embeddings
    at, labels, weights = (torch.as_tensor(column) for column in (fills.at, fills.labels, fills.weight))
    read = its_own.normed(its_own.look_up(batch.tokens, layout))
    states = small(read, Pass(layout, mask, at=at, losses=extra))
    # One number a place, so that a target that is there twice (to fill up) is drawn alike.
    uniforms = torch.rand(batch.tokens.numel(), generator=random, device=at.device)[at]
    loss_of_fills, drawn = small.words.loss_and_draw(
        small.said(states), its_own.tokens.weight, labels, weights, uniforms, rate_at(temperature, batch.progress)
    )
    losses = {GENERATOR: (loss_of_fills, weights.sum())}
    if judges:
        shown = batch.tokens.flatten()
        tokens = shown.scatter(0, at, drawn)
        for question in judges:
            if question.name == PREDICT["masked"]:
                tokens[torch.as_tensor(question.at)] = shown[question.at]
        reads = embeddings.look_up(tokens.view_as(batch.tokens), layout)
        if disentangled:
            difference: Any = model.parts[DIFFERENCE]
            reads = reads.detach() + difference(tokens).view_as(reads)
        given = Pass(layout, mask, losses=extra)
        hidden = model.backbone.encode(embeddings.widened(embeddings.normed(reads)), given).flatten(0, 1)
        losses |= {question.name: _judged(model, hidden, tokens, question) for question in judges}
    return with_extra(losses, extra)


def _judged(model: Model, hidden: Tensor, tokens: Tensor, question: Target) -> tuple[Tensor, Tensor]:
    """The model's loss on the filled text: hidden [B*T, D], tokens [B*T]."""
    at, labels, weights = (torch.as_tensor(column) for column in (question.at, question.labels, question.weight))
    states = hidden.index_select(0, at)
    if question.name == PREDICT["all-words"]:
        gate = model.head("copied").logits(states, question)
        words = model.logits(states)
        return copied_or_predicted(gate, words, reads=tokens[at], labels=labels, weight=weights), weights.sum()
    if question.head == "replaced":
        question = but(question, labels=tokens[at] != labels)
    return model.head(question.head).loss_at(states, question)


def _flops(config: ModelConfig, sample: Sample, *, width: float, layers: float) -> float:
    """Both networks over the row; the generator's head at the hidden places, the model's where it predicts words."""
    tokens = len(sample.tokens)
    predicted = {target.name: len(target.at) for target in sample.targets if target.head == "words"}
    small = generator_shape(config, width=width, layers=layers)
    embedding_width = config.embedding_width or config.width
    projections = (
        2 * small.width * embedding_width * (tokens + predicted[GENERATOR]) if small.width != embedding_width else 0
    )
    head = 2 * embedding_width * config.vocabulary * predicted[GENERATOR]
    body = small.flops_per_token(length=tokens, predicted=0.0) * tokens
    words = sum(count for name, count in predicted.items() if name != GENERATOR)
    alone = len(sample.targets) == 1
    judge = 0.0 if alone else config.flops_per_token(length=tokens, predicted=words / tokens) * tokens
    return 3 * (projections + head) + body + judge


def _networks(
    weights: Mapping[str, Tensor], config: ModelConfig, *, width: float, layers: float, disentangled: bool
) -> Networks:
    """The model with its embeddings made whole, and the generator as a model of its own."""
    mine, table = f"parts.{GENERATOR}.", "backbone.embeddings.tokens.weight"
    small = {name.removeprefix(mine): weight for name, weight in weights.items() if name.startswith(mine)}
    shared = {name.removeprefix("backbone."): weight for name, weight in weights.items() if "backbone.embed" in name}
    shape = generator_shape(config, width=width, layers=layers)
    main = dict(weights)
    if disentangled:
        main[table] = main[table] + main[f"parts.{DIFFERENCE}.weight"]
    return {"": (main, config), GENERATOR: standing_alone(shared | small, shape)}
