"""CBOW's gradient in closed form: autograd over PyTorch's embedding bag, finite differences, word2vec.c's own loop."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bothways.word_vectors.batches import CbowBatch
from bothways.word_vectors.cbow import MOST, Cbow
from bothways.word_vectors.sampling import Windows

# Two documents; "7" stands twice, once in its own context, and is a negative of its own block.
WORDS, DOCUMENTS, REACHES = [3, 7, 7, 1, 0, 5, 2, 9], [0, 0, 0, 0, 0, 1, 1, 2], [1, 2, 3, 1, 2, 3, 1, 2]
NEGATIVES = [[7, 4, 6], [2, 8, 8]]
CONTEXTS = [[1], [0, 2, 3], [0, 1, 3, 4], [2, 4], [2, 3], [6], [5], []]
WEIGHT = 5 / 3


@pytest.fixture
def batch() -> CbowBatch:
    context, mirror = Windows(8, 3)(np.array(DOCUMENTS), np.array(REACHES))
    seldom = torch.ones(8, 1), torch.ones(8, 1), torch.ones(2, 3, 1)
    return CbowBatch(torch.tensor(WORDS), context, mirror, torch.tensor(NEGATIVES), WEIGHT, *seldom)


@pytest.fixture
def model() -> Cbow:
    made = torch.Generator().manual_seed(0)
    return Cbow(*(torch.randn(10, 4, dtype=torch.float64, generator=made) for _ in range(2)))


def loss_by_definition(inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    """Word by word, over F.embedding_bag's mean."""
    total = torch.zeros((), dtype=inputs.dtype)
    for place, context in enumerate(CONTEXTS):
        if not context:  # h is zero: nothing can be learnt, log 2 for each
            kept = sum(negative != WORDS[place] for negative in NEGATIVES[place // 4])
            total = total + math.log(2) * (1 + WEIGHT * kept)
            continue
        there = torch.tensor([[WORDS[other] for other in context]])
        hidden = F.embedding_bag(there, inputs, mode="mean")[0]
        total = total - F.logsigmoid(outputs[WORDS[place]] @ hidden)
        for negative in NEGATIVES[place // 4]:
            if negative != WORDS[place]:
                total = total - WEIGHT * F.logsigmoid(-(outputs[negative] @ hidden))
    return total


def on_tables(model: Cbow, batch: CbowBatch, **how: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The closed form's rows, added up by word: as large as the tables."""
    found = model.gradients(batch, **how)
    inputs, outputs = torch.zeros_like(model.inputs), torch.zeros_like(model.outputs)
    inputs.index_add_(0, batch.words, found.inputs)
    outputs.index_add_(0, batch.words, found.outputs)
    outputs.index_add_(0, batch.negatives.flatten(), found.negatives.flatten(0, 1))
    return inputs, outputs


def test_the_loss_is_its_definition(model: Cbow, batch: CbowBatch) -> None:
    assert torch.allclose(model.loss(batch), loss_by_definition(model.inputs, model.outputs), rtol=1e-12)


def test_the_closed_form_is_autograd_over_the_embedding_bag(model: Cbow, batch: CbowBatch) -> None:
    tables = [table.clone().requires_grad_() for table in (model.inputs, model.outputs)]
    expected = torch.autograd.grad(loss_by_definition(*tables), tables)
    for found, wanted in zip(on_tables(model, batch), expected, strict=True):
        assert torch.allclose(found, wanted, rtol=1e-10, atol=1e-12)


def test_the_closed_form_is_the_slope_of_the_loss(model: Cbow, batch: CbowBatch) -> None:
    """Central differences in every coordinate of both tables."""
    for table, found in zip((model.inputs, model.outputs), on_tables(model, batch), strict=True):
        for at in np.ndindex(*table.shape):
            kept, losses = float(table[at]), []
            for aside in (1e-5, -1e-5):
                table[at] = kept + aside
                losses.append(float(model.loss(batch)))
            table[at] = kept
            assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(float(found[at]), abs=1e-7)


def word2vec_c(inputs: np.ndarray, outputs: np.ndarray, place: int) -> tuple[np.ndarray, np.ndarray]:
    """word2vec.c's loop for one word, its gradient instead of its step: {word: sum} as tables.

    neu1 is the mean; `neu1e` is added to every context word as it is, which is the fault.
    """
    moved = np.zeros_like(inputs), np.zeros_like(outputs)
    context = [WORDS[other] for other in CONTEXTS[place]]
    neu1 = np.mean([inputs[word] for word in context], axis=0)
    neu1e = np.zeros_like(neu1)
    targets = [(WORDS[place], 1, 1.0), *((n, 0, WEIGHT) for n in NEGATIVES[place // 4] if n != WORDS[place])]
    for target, label, weight in targets:
        g = weight * (label - 1 / (1 + math.exp(-neu1 @ outputs[target])))
        neu1e -= g * outputs[target]
        moved[1][target] -= g * neu1
    for word in context:
        moved[0][word] += neu1e
    return moved


def test_undivided_is_word2vecs(model: Cbow, batch: CbowBatch) -> None:
    both = [word2vec_c(model.inputs.numpy(), model.outputs.numpy(), place) for place in range(7)]
    for found, wanted in zip(on_tables(model, batch, divided=False), zip(*both, strict=True), strict=True):
        assert np.allclose(found, np.sum(wanted, axis=0), rtol=1e-10, atol=1e-12)


def test_undivided_is_exactly_the_number_of_context_words_too_much(model: Cbow) -> None:
    """One word with a context of four: its neighbours get four times their gradient, everything else the same."""
    for size in (1, 2, 4):
        words = torch.arange(size + 1)
        context, mirror = Windows(size + 1, size)(np.zeros(size + 1, int), np.array([size, *[0] * size]))
        one = CbowBatch(words, context, mirror, torch.tensor([[8, 9]]), 2.5, *[torch.ones(size + 1, 1)] * 3)
        divided, word2vecs = model.gradients(one), model.gradients(one, divided=False)
        assert torch.allclose(size * divided.inputs, word2vecs.inputs, rtol=1e-12)
        assert divided.inputs[1:].abs().min() > 0
        assert torch.equal(divided.outputs, word2vecs.outputs) and torch.equal(divided.negatives, word2vecs.negatives)


@pytest.mark.parametrize("divided", [True, False])
def test_a_step_goes_down_the_gradient_and_moves_both_tables(model: Cbow, batch: CbowBatch, divided: bool) -> None:
    """A refactor once made gensim's CBOW a no-op that no test noticed (its issue 386)."""
    expected = [
        table - 0.01 * found
        for table, found in zip((model.inputs, model.outputs), on_tables(model, batch, divided=divided), strict=True)
    ]
    before = model.loss(batch)
    model.step(batch, 0.01, divided=divided)
    assert torch.allclose(model.inputs, expected[0]) and torch.allclose(model.outputs, expected[1])
    assert model.loss(batch) < before


def test_a_row_that_moves_too_often_moves_less(model: Cbow, batch: CbowBatch) -> None:
    """By what its moves at this rate are beyond MOST; the others move as ever."""
    often = torch.ones(8, 1)
    often[1:3] = 2 * MOST / 0.01  # "7", at both its places
    lone, calm = (Cbow(model.inputs.clone(), model.outputs.clone()) for _ in range(2))
    lone.step(batch, 0.01)
    calm.step(replace(batch, stands=often), 0.01)
    ratio = (calm.inputs - model.inputs) / (lone.inputs - model.inputs)
    assert torch.allclose(ratio[7], torch.tensor(0.5, dtype=torch.float64))
    assert torch.allclose(ratio[[0, 1, 2, 3, 5]], torch.tensor(1.0, dtype=torch.float64))
    assert torch.equal(calm.outputs, lone.outputs)


def test_it_begins_as_word2vec_does() -> None:
    model = Cbow.new(1000, 50, torch.Generator().manual_seed(3))
    assert model.outputs.count_nonzero() == 0
    assert 0.0099 < model.inputs.abs().max() <= 0.5 / 50
