"""The head for pairs in several turns: its arithmetic, what is dropped, and that nothing is softmaxed twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bothways.batch import Target
from bothways.model import Model, ModelConfig, TaskHead
from bothways.model.heads.san import AnswerNetwork, together
from bothways.tasks.encoding import encode_texts
from tests.inference.made import tokenizer

SHAPE = ModelConfig(vocabulary=50, layers=1, width=16, heads=2, inner=32, length=32)
HEAD = TaskHead("classify", "san", ("no", "yes", "perhaps"), "one", "encoder", 2, name="pairs")
AT = np.array([[1, 4, 6, 9], [13, 13, 15, 20], [25, 30, 32, 32]])


def head(*, turns: int = 5, dropped: float = 0.0, dropout: float = 0.0) -> AnswerNetwork:
    shape = SHAPE.model_copy(update={"dropout": dropout})
    model = Model(shape, heads={"pairs": lambda config: AnswerNetwork(config, HEAD, turns=turns, dropped=dropped)})
    found = model.heads["pairs"]
    assert isinstance(found, AnswerNetwork)
    for parameter in found.parameters():
        nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(parameter.numel()))
    return found.eval()


def states() -> torch.Tensor:
    return torch.randn(36, 16, generator=torch.Generator().manual_seed(1))


def target(labels: torch.Tensor | None = None) -> Target:
    labels = torch.tensor([0, 2, 1]) if labels is None else labels
    return Target("pairs", torch.from_numpy(AT), labels, torch.ones(3))


def test_a_turn_attends_scores_and_then_brings_the_state_on() -> None:
    """Equal to the formulas, pair by pair, with torch's own GRU."""
    made, hidden = head(turns=3), states()
    cell = nn.GRUCell(16, 16)
    cell.load_state_dict(
        {
            "weight_ih": made.read.weight,
            "bias_ih": made.read.bias,
            "weight_hh": made.kept.weight,
            "bias_hh": made.kept.bias,
        }
    )
    expected = []
    for first, last, begin, end in AT.tolist():
        memory, second = hidden[first : last + 1], hidden[begin : end + 1]
        state = made.summary(second)[:, 0].softmax(0) @ second
        chances = []
        for _ in range(3):
            read = (memory @ made.attention(state)).softmax(0) @ memory
            both = torch.cat([read, state, (read - state).abs(), read * state])
            chances.append(made.out(both).softmax(-1))
            state = cell(read[None], state[None])[0]
        expected.append(torch.stack(chances).mean(0))
    found = made.logits(hidden, target())
    torch.testing.assert_close(found.exp(), torch.stack(expected), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_the_mean_of_the_softmaxes_sums_to_one(training: bool) -> None:
    made = head(dropped=0.6, dropout=0.3).train(training)
    for seed in range(20):
        torch.manual_seed(seed)
        found = made.logits(states(), target()).exp()
        torch.testing.assert_close(found.sum(-1), torch.ones(3))


def test_the_loss_does_not_softmax_twice() -> None:
    made = head()
    logits = made.logits(states(), target())
    loss, count = made.loss(logits, target())
    torch.testing.assert_close(loss, -logits[torch.arange(3), torch.tensor([0, 2, 1])].sum())
    assert float(count) == 3.0
    torch.testing.assert_close(logits.softmax(-1), logits.exp())  # nor does whoever reads it
    soft = torch.tensor([[0.2, 0.3, 0.5]] * 3)
    loss, _ = made.loss(logits, target(soft))
    torch.testing.assert_close(loss, -(soft * logits).sum())


def test_one_turn_without_dropout_is_a_plain_head() -> None:
    made, hidden = head(turns=1).train(), states()
    states_of = []
    for first, last, begin, end in AT.tolist():
        memory, second = hidden[first : last + 1], hidden[begin : end + 1]
        state = made.summary(second)[:, 0].softmax(0) @ second
        states_of.append(((memory @ made.attention(state)).softmax(0) @ memory, state))
    read, state = (torch.stack(some) for some in zip(*states_of, strict=True))
    plain = made.out(together(read, state))
    torch.testing.assert_close(made.logits(hidden, target()), plain.log_softmax(-1), atol=1e-5, rtol=1e-5)
    loss, _ = made.loss(made.logits(hidden, target()), target())
    torch.testing.assert_close(loss, F.cross_entropy(plain, torch.tensor([0, 2, 1]), reduction="sum"))


def test_turns_are_dropped_whole_and_one_is_kept() -> None:
    made = head(dropped=0.9).train()
    torch.manual_seed(0)
    counts = made._counts(400, torch.device("cpu"))
    assert counts.shape == (5, 400) and bool(counts.any(0).all()) and not bool(counts.all())
    assert bool(counts.any(1).all())  # the one that is kept may be any
    assert bool(made.eval()._counts(400, torch.device("cpu")).all())


def test_texts_are_read_apart() -> None:
    own = tokenizer("wordpiece")
    texts = ("the quick fox", "over the lazy dog")
    encoded = encode_texts(own, texts, length=32, apart=True)
    ((first, last, begin, end),) = encoded.at.tolist()
    assert own.decode(encoded.tokens[first : last + 1].tolist()) == texts[0]
    assert own.decode(encoded.tokens[begin : end + 1].tolist()) == texts[1]
    empty = encode_texts(own, ("", "the dog"), length=32, apart=True)
    ((first, last, *_),) = empty.at.tolist()
    assert first == last < len(empty.tokens)  # the special behind it
    assert encode_texts(own, texts, length=32).at.tolist() == [[0, len(encoded.tokens) - 1]]


def test_what_it_needs_is_drawn_by_the_seed() -> None:
    one, other = (Model(SHAPE, seed=3, heads={"pairs": HEAD.factory}).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], weight) for name, weight in other.items())
    assert replace(HEAD, name="").face == "body"
