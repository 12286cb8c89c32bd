"""Vectors: the losses are the formulas', the scores are counted by hand, sentence-transformers loads what is saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import bothways
from bothways.batch import Target
from bothways.errors import DataError, ModelError
from bothways.model import TaskHead
from bothways.model.heads.vector import SCALE, VectorHead
from bothways.tasks import TASKS
from bothways.tasks.task import Example
from bothways.text import Tokenizer
from bothways.training.finetuning import evaluate, finetune, predict
from tests.model.small import MODERN
from tests.tasks.conftest import config, write

PAIR = TaskHead("embed", "vector", ("0", "1"), "pair", "encoder")


def pairs(times: int = 24) -> list[dict[str, Any]]:
    words = ("quick", "brown", "lazy", "over", "jumps")
    found = [(one, other) for one in words for other in words if one != other]
    return [{"text": f"the {a} {b} fox", "positive": f"dog: {b}, {a}"} for a, b in found[:times]]


def scored(times: int = 24) -> list[dict[str, Any]]:
    return [
        {"text_a": f"the {'fox' if i % 2 else 'dog'} {i}", "text_b": f"the fox {i}", "score": 5.0 if i % 2 else 0.0}
        for i in range(times)
    ]


def lost(head: TaskHead, vectors: torch.Tensor, target: Target) -> tuple[torch.Tensor, torch.Tensor]:
    return VectorHead(MODERN, head).loss(vectors, target)


@pytest.mark.parametrize("kinds", [2, 3])
def test_the_loss_is_the_softmax_over_the_texts_of_the_batch(kinds: int) -> None:
    generator = torch.Generator().manual_seed(0)
    texts = torch.randn(4, kinds, 8, generator=generator)
    anchors, others = F.normalize(texts[:, 0], dim=-1), F.normalize(texts[:, 1:], dim=-1)
    candidates = torch.cat([others[:, i] for i in range(kinds - 1)])
    expected = sum(
        -torch.log_softmax(SCALE * candidates @ anchors[i], 0)[i] for i in range(4)
    )  # its own is the i-th of all
    mixed = torch.randperm(4 * kinds, generator=generator)
    group = torch.arange(4).repeat_interleave(kinds)
    side = torch.arange(kinds).repeat(4)
    labels = torch.stack([side.float(), torch.ones(4 * kinds)], dim=1)
    target = Target("vector", torch.zeros(0), labels[mixed], 1.0, "embed", group[mixed] * 7)
    loss, count = lost(PAIR, texts.flatten(0, 1)[mixed], target)
    assert count == 4 and torch.allclose(loss, torch.as_tensor(expected), atol=1e-5)


def test_some_pairs_may_have_a_negative() -> None:
    vectors = F.normalize(torch.randn(7, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    side, group = torch.tensor([0, 1, 0, 1, 2, 0, 1]), torch.tensor([3, 3, 5, 5, 5, 9, 9])
    labels = torch.stack([side.float(), torch.ones(7)], dim=1)
    expected = sum(
        -torch.log_softmax(SCALE * vectors[[1, 3, 6, 4]] @ vectors[at], 0)[i] for i, at in enumerate((0, 2, 5))
    )
    for order in (torch.arange(7), torch.tensor([4, 6, 1, 0, 3, 2, 5])):
        target = Target("vector", torch.zeros(0), labels[order], 1.0, "embed", group[order])
        loss, count = lost(PAIR, vectors[order], target)
        assert count == 3 and torch.allclose(loss, torch.as_tensor(expected), atol=1e-5)


def test_the_loss_of_scores_is_the_squared_error_of_the_cosine() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 2.0]])
    labels = torch.tensor([[0.0, 0.25], [1.0, 0.25], [0.0, 0.5], [1.0, 0.5]])
    target = Target("vector", torch.zeros(0), labels, 1.0, "embed", torch.tensor([0, 0, 1, 1]))
    loss, count = lost(TaskHead("embed", "vector", ("0", "5"), "likeness", "encoder"), vectors, target)
    assert count == 2 and float(loss) == pytest.approx(0.25**2 + 0.5**2)


def test_retrieval_counts_ties_as_half_and_a_text_that_is_there_twice_once() -> None:
    right, left = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    told = [("a", right, "x", right), ("b", right, "y", left), ("c", left, "x", right), ("d", right + left, "y", left)]
    examples = [Example(i, (text, other), None, "") for i, (text, _, other, _) in enumerate(told)]
    said = [{"vector": vector, "other": other, "similarity": 0.0} for _, vector, _, other in told]
    # ranks among x and y: 1, 2, 2, and a tie, which counts as one and a half
    scores = TASKS["embed"].score(examples, said, PAIR)
    assert scores["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 2 + 1 / 1.5) / 4)
    assert scores["recall_at_1"] == 0.25 and scores["recall_at_10"] == 1.0


@pytest.mark.parametrize(("records", "metric"), [(pairs(), "mrr"), (scored(), "spearman")])
def test_a_model_learns_and_sentence_transformers_says_the_same(
    records: list[dict[str, Any]], metric: str, tmp_path: Path, body: Path
) -> None:
    train = write(tmp_path / "data.jsonl", *records)
    run = finetune(config(tmp_path, body, task="embed", train=train, dev=train, epochs=8))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "validation"]
    assert losses[-1] < losses[0]
    assert evaluate(run, train)[metric] > (0.3 if metric == "mrr" else 0.8)
    theirs = pytest.importorskip("sentence_transformers").SentenceTransformer(str(run / "model"), device="cpu")
    texts = ["the quick fox", "a dog that is quick", "over"]
    ours = bothways.load(run, device="cpu").embed(texts)
    assert np.allclose(ours, theirs.encode(texts), atol=1e-5)
    predict(run, write(tmp_path / "texts.jsonl", {"text": texts[0]}), tmp_path / "out.jsonl")
    written = json.loads((tmp_path / "out.jsonl").read_text())["vector"]
    assert np.allclose(written, ours[0], atol=0.05)  # bf16 where the machine has it


def test_what_cannot_be_learned_from_is_refused(tmp_path: Path, body: Path) -> None:
    same = write(tmp_path / "same.jsonl", *(record | {"score": 3} for record in scored(4)))
    with pytest.raises(DataError, match="expected scores that differ"):
        finetune(config(tmp_path / "a", body, task="embed", train=same, dev=same))
    train = write(tmp_path / "data.jsonl", *pairs(8))
    with pytest.raises(ModelError, match="embed needs a model that is bidirectional"):
        finetune(config(tmp_path / "b", body, task="embed", train=train, dev=train, reads="decoder"))


@pytest.mark.parametrize("texts", [("a",), ("a", "b"), ("a", "b", "c")])
def test_an_example_counts_once_however_many_texts_it_has(texts: tuple[str, ...], body: Path) -> None:
    """Its loss is a mean over examples, in training as of dev examples."""
    head = TaskHead("embed", "vector", ("0", "1"), "pair", "encoder")
    parts = TASKS["embed"].encode(Example("0", texts, None, "line 1"), Tokenizer.load(body), head, length=16)
    weights = [float(np.sum(target.weight)) for part in parts for target in part.targets]
    assert sum(weights) == pytest.approx(1.0)
