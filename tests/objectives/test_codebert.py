"""Words replaced by n-gram models: what counts as replaced, whose draws they are, and what nobody teaches."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from bothways.batch import Batch, Row, Target
from bothways.errors import UsageError
from bothways.model import Model, ModelConfig
from bothways.model.losses import plain_loss
from bothways.objectives import Objective, build
from tests.objectives.rows import FIRST_TEXT, VOCABULARY, packed
from tests.objectives.test_pairs import pair_row

PAIRS = pair_row([(20, 30), (10, 15)], padding=3)


@dataclass
class Always:
    """Draws one token, and remembers what stood beside the places."""

    token: int
    beside: list[tuple[int, int]] = field(default_factory=list)

    def draw(self, left: np.ndarray, right: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        self.beside += zip(left.tolist(), right.tolist(), strict=True)
        return np.full(len(left), self.token)


@dataclass
class Corpus:
    """Two languages."""

    models: dict[int, Always]

    def counts(self) -> np.ndarray:
        return np.ones(VOCABULARY.size)

    def fillers(self) -> dict[int, Always]:
        return self.models


def made(**arguments: object) -> tuple[Objective, dict[int, Always]]:
    models = {0: Always(700), 1: Always(800)}
    return build("codebert", VOCABULARY, corpus=Corpus(models)), models


def leaf(objective: Objective, name: str) -> Objective:
    return next(one for one, _ in objective.leaves() if one.name == name)


def test_every_token_of_text_is_asked_for_and_only_those_that_differ_are_replaced() -> None:
    objective, _ = made()
    rtd = leaf(objective, "rtd")
    for seed in range(50):
        sample = rtd.sample(PAIRS, np.random.default_rng(seed), 0.0)
        (target,) = sample.targets
        assert (target.head, target.name) == ("replaced", "rtd")
        assert np.array_equal(target.at, np.flatnonzero(PAIRS.tokens >= FIRST_TEXT))
        changed = sample.tokens != PAIRS.tokens
        assert np.array_equal(target.labels, changed[target.at])
        assert sorted(set(sample.tokens[changed & (PAIRS.language == 0)])) in ([], [700])
        assert sorted(set(sample.tokens[changed & (PAIRS.language == 1)])) in ([], [800])


def test_a_correct_guess_counts_as_original() -> None:
    """Always drawing what stands there replaces nothing, however many places were chosen."""
    row = packed([30])
    row.tokens[1:-1] = 700
    objective, models = made()
    sample = leaf(objective, "rtd").sample(row, np.random.default_rng(0), 0.0)
    assert models[0].beside
    assert sample.targets[0].labels.sum() == 0


def test_a_share_of_the_text_is_drawn_given_its_true_neighbours() -> None:
    objective, models = made()
    rtd = leaf(objective, "rtd")
    for seed in range(400):
        rtd.sample(PAIRS, np.random.default_rng(seed), 0.0)
    text = (PAIRS.tokens >= FIRST_TEXT).sum()
    drawn = models[0].beside + models[1].beside
    assert len(drawn) / 400 / text == pytest.approx(0.15, abs=0.01)
    around = set(zip(PAIRS.tokens[:-2].tolist(), PAIRS.tokens[2:].tolist(), strict=True))
    assert set(drawn) <= around


def test_pairs_are_masked_or_replaced_and_code_alone_is_replaced() -> None:
    objective, _ = made()

    def share(row: Row) -> float:
        names = [objective.sample(row, np.random.default_rng(seed), 0.0).targets[0].name for seed in range(600)]
        assert set(names) <= {"mlm", "rtd"}
        return names.count("mlm") / 600

    assert share(PAIRS) == pytest.approx(0.5, abs=0.06)
    assert share(packed([40])) == 0.0


def test_hidden_words_always_show_the_mask() -> None:
    objective, _ = made()
    sample = leaf(objective, "mlm").sample(PAIRS, np.random.default_rng(0), 0.0)
    assert (sample.tokens[sample.targets[0].at] == VOCABULARY.mask).all()


def test_both_losses_are_told_apart_and_a_row_counts_alike_in_either() -> None:
    objective, _ = made()
    config = ModelConfig(vocabulary=VOCABULARY.size, layers=1, width=16, heads=2, inner=32, length=128)
    model = Model(config, heads=objective.heads, parts=objective.parts)
    batch = Batch.stack([objective.sample(PAIRS, np.random.default_rng(seed), 0.0) for seed in range(64)])
    losses = plain_loss(model, batch)
    assert set(losses) == {"mlm", "rtd"} == set(objective.shares)
    names = [objective.sample(PAIRS, np.random.default_rng(seed), 0.0).targets[0].name for seed in range(64)]
    text = float((PAIRS.tokens >= FIRST_TEXT).sum())
    for name, (_, weight) in losses.items():
        assert float(weight) / names.count(name) == pytest.approx(text, rel=0.05)


def test_nothing_but_the_model_is_taught() -> None:
    """The n-gram models are tables outside the model: it has no part for them, and their draws carry no gradient."""
    objective, models = made()
    config = ModelConfig(vocabulary=VOCABULARY.size, layers=1, width=16, heads=2, inner=32, length=128)
    model = Model(config, heads=objective.heads, parts=objective.parts)
    assert not dict(model.parts.named_parameters())
    rtd = leaf(objective, "rtd")
    batch = Batch.stack([rtd.sample(PAIRS, np.random.default_rng(seed), 0.0) for seed in range(4)])
    total, weight = plain_loss(model, batch)["rtd"]
    (total / weight).backward()
    taught = {name for name, value in model.named_parameters() if value.grad is not None and value.grad.any()}
    assert {"heads.replaced.logit.weight", "backbone.embeddings.tokens.weight"} <= taught
    assert models[0].draw(np.zeros(1), np.zeros(1), np.random.default_rng(0)).tolist() == [700]


@pytest.mark.parametrize("shape", ["modern", "classic"])
def test_the_head_says_one_number_and_its_loss_is_cross_entropy(shape: str) -> None:
    extra = {"segments": 2, "shape": "classic"} if shape == "classic" else {}
    objective, _ = made()
    config = ModelConfig(vocabulary=VOCABULARY.size, layers=1, width=16, heads=2, inner=32, length=128, **extra)
    head = Model(config, heads=objective.heads, seed=1).heads["replaced"]
    hidden, labels = torch.randn(5, 16), torch.tensor([0, 1, 1, 0, 1])
    weights = torch.tensor([1.0, 2.0, 0.0, 1.0, 0.5])
    target = Target("replaced", torch.arange(5), labels, weights)
    logits = head.logits(hidden, target)
    share = logits.sigmoid()
    by_hand = -(labels * share.log() + (1 - labels) * (1 - share).log())
    loss, count = head.loss(logits, target)
    assert logits.shape == (5,) and count == weights.sum()
    assert torch.allclose(loss, (by_hand * weights).sum(), atol=1e-6)


def test_without_a_corpus_any_token_of_text_is_drawn() -> None:
    sample = leaf(build("codebert", VOCABULARY), "rtd").sample(PAIRS, np.random.default_rng(0), 0.0)
    changed = sample.tokens[sample.tokens != PAIRS.tokens]
    assert len(changed) and (changed >= FIRST_TEXT).all()


@pytest.mark.parametrize(("expression", "said"), [("codebert(mlm=1)", "below 1"), ("codebert(rate=0)", "above 0")])
def test_what_cannot_be_is_refused(expression: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build(expression, VOCABULARY)
