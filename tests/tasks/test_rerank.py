"""Reranking: ranks are counted by hand, the CrossEncoder of sentence-transformers says the same, forms of records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy

import bothways
from bothways.batch import Batch
from bothways.errors import DataError, ModelError, UsageError
from bothways.inference.pipeline import logits_of
from bothways.model.losses import plain_loss
from bothways.tasks import TASKS
from bothways.tasks.reading import hold_out, read_examples
from bothways.tasks.records import refuse
from bothways.tasks.rerank import Rerank, ndcg, reciprocal_rank
from bothways.tasks.task import Example
from bothways.training.finetuning import evaluate, finetune, predict
from tests.tasks.conftest import config, write

WORDS = ("quick", "brown", "lazy", "over", "jumps", "reading")


def pairs(times: int = 6) -> list[dict[str, Any]]:
    """A text belongs to a query where it has the dog in it."""
    return [
        {"query": f"the {word} {number}", "passage": f"{animal} {word}", "label": int(animal == "dog")}
        for number in range(times)
        for word in WORDS
        for animal in ("fox", "dog", "fox fox")
    ]


def groups() -> list[dict[str, Any]]:
    return [
        {"query": f"the {word}", "positive": f"dog {word}", "negatives": [f"fox {word}", "fox fox"]} for word in WORDS
    ]


@pytest.fixture(scope="module", params=[False, True])
def ranker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, body: Path) -> Path:
    """From records of one candidate, and from those of several."""
    folder = tmp_path_factory.mktemp("ranker")
    train = write(folder / "pairs.jsonl", *(groups() * 4 if request.param else pairs()))
    return finetune(config(folder, body, task="rerank", train=train, dev=train, test=train, epochs=4))


def one(query: str, grades: Any, scores: Any, number: int = 0) -> tuple[Example, dict[str, Any]]:
    texts = (query, *(f"{query} {i}" for i in range(len(scores))))
    return Example(number, texts, tuple(grades), "here, line 1"), {"scores": list(scores)}


def test_the_place_of_the_first_right_text() -> None:
    cases = [([0, 1, 0], [3, 2, 1], 1 / 2), ([0, 1, 1], [1, 2, 3], 1.0), ([0] * 10 + [1], range(11, 0, -1), 0.0)]
    for grades, scores, expected in cases:
        assert reciprocal_rank(np.array(grades), np.array([*scores])) == pytest.approx(expected)
    # all alike: one right among three is at the second place on the mean, two right among three at 4/3
    assert reciprocal_rank(np.array([1, 0, 0]), np.zeros(3)) == pytest.approx(1 / 2)
    assert reciprocal_rank(np.array([1, 1, 0]), np.zeros(3)) == pytest.approx(1 / (4 / 3))


def test_ndcg_is_the_formula() -> None:
    grades, scores = np.array([0.0, 1.0, 0.5]), np.array([0.9, 0.8, 0.1])
    gained = 1 / np.log2(3) + 0.5 / np.log2(4)
    assert ndcg(grades, scores) == pytest.approx(gained / (1 + 0.5 / np.log2(3)))


def test_records_of_a_query_are_ranked_together() -> None:
    some = [
        one("a", [0], [0.9], 0),
        one("b", [1, 0], [0.2, 0.1], 1),
        one("a", [1], [0.5], 2),
        one("c", [0, 0], [0.2, 0.1], 3),  # nothing belongs to it
        one("d", [1], [0.2], 4),  # nothing else is there
    ]
    examples, predictions = ([pair[side] for pair in some] for side in (0, 1))
    task, head = Rerank(), Rerank().head(examples, reads="encoder")
    scores = task.score(examples, predictions, head)
    assert scores["mrr@10"] == pytest.approx((1 / 2 + 1) / 2)
    value, weight = task.items(examples, predictions, head)
    assert weight.tolist() == [1, 1, 0, 0, 0] and value.sum() / weight.sum() == pytest.approx(scores["mrr@10"])
    drawn = task.scores_of(examples, predictions, head)
    assert drawn([1, 1, 2])["mrr@10"] == 1.0 and drawn([0, 2])["mrr@10"] == 0.5
    assert np.isnan(drawn([2, 3])["mrr@10"])
    with pytest.raises(DataError, match="expected a query with candidates that belong to it and others that do not"):
        task.score(examples[3:], predictions[3:], head)


def test_a_model_learns_and_the_cross_encoder_says_the_same(ranker: Path, tmp_path: Path) -> None:
    queries = write(
        tmp_path / "queries.jsonl", *({"query": g["query"], "candidates": g["negatives"]} for g in groups())
    )
    ranked = predict(ranker, queries, device="cpu")
    assert sorted(ranked[0]["order"]) == [0, 1] and len(ranked[0]["scores"]) == 2
    scores = evaluate(ranker, write(tmp_path / "groups.jsonl", *groups()), device="cpu")
    assert scores["mrr@10"] > 0.9 and scores["ndcg@10"] > 0.9
    assert 0 < scores["baselines"]["TF-IDF"]["scores"]["mrr@10"] <= 1
    model, texts = bothways.load(ranker, device="cpu"), ["fox quick", "dog quick", "over"]
    found = model.rerank("the quick", texts)
    assert found.order[0] == 1 and found.order == np.argsort(-np.array(found.scores)).tolist()
    assert model.predict("rerank", [("the quick", texts)]) == [found]
    theirs = pytest.importorskip("sentence_transformers").CrossEncoder(str(ranker / "model"), device="cpu")
    assert np.allclose(theirs.predict([("the quick", text) for text in texts]), found.scores, atol=1e-5)
    assert [one["corpus_id"] for one in theirs.rank("the quick", texts)] == found.order
    saved = json.loads((ranker / "model" / "config.json").read_text())
    assert saved["architectures"] == ["EuroBertForSequenceClassification"] and saved["id2label"] == {"0": "relevance"}
    assert "CrossEncoder(" in (ranker / "model" / "README.md").read_text()


def test_the_loss_is_binary_cross_entropy(ranker: Path) -> None:
    engine = bothways.load(ranker, device="cpu").engine
    (head,) = engine.abilities.heads.values()
    example = Example(0, ("the quick", "dog", "fox", "over"), (1.0, 0.0, 0.25), "")
    samples = TASKS["rerank"].encode(example, engine.tokenizer, head, length=64)
    logits = torch.tensor(np.array([one[0] for one in logits_of(engine.model, samples)]))[:, 0, 0]
    with torch.inference_mode():
        total, count = plain_loss(engine.model, Batch.stack(samples))["rerank"]
    expected = binary_cross_entropy(logits.sigmoid(), torch.tensor([1.0, 0.0, 0.25]), reduction="sum")
    assert float(count) == 3 and torch.allclose(total, expected, atol=1e-4)


def test_a_published_cross_encoder_reranks(tmp_path: Path, body: Path) -> None:
    records = [{"text_a": f"the {i}", "text_b": "fox", "score": i} for i in range(8)]
    train = write(tmp_path / "scores.jsonl", *records)
    run = finetune(config(tmp_path, body, task="regress", train=train, dev=train, epochs=1))
    assert sorted(bothways.load(run, device="cpu").rerank("the", ["fox", "dog"]).order) == [0, 1]


@pytest.mark.parametrize(
    ("record", "gold"),
    [
        ({"text_a": "q", "text_b": "x", "label": True}, (1.0,)),
        ({"question": "q", "answer": "x", "score": "0.5"}, (0.5,)),
        ({"query": "q", "documents": ["x", "y"], "labels": [0, 1]}, (0.0, 1.0)),
        ({"query": "q", "positive": "x", "negatives": ["y", "z"]}, (1.0, 0.0, 0.0)),
        ({"anchor": "q", "positive": ["x", "y"], "negative": "z"}, (1.0, 1.0, 0.0)),
    ],
)
def test_forms_of_records(record: dict[str, Any], gold: tuple[float, ...], tmp_path: Path) -> None:
    _, (example,) = read_examples(TASKS["rerank"], write(tmp_path / "a.jsonl", record), skip=refuse)
    assert example.texts[0] == "q" and example.gold == gold and len(example.texts) == 1 + len(gold)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"query": "", "text": "x", "label": 1}, "field 'query': expected a text"),
        ({"query": "q", "text": "x", "label": 3}, "expected labels from 0, no, to 1, yes, got 3; divide grades"),
        ({"query": "q", "text": "x", "label": "no"}, "expected labels from 0, no, to 1"),
        ({"query": "q", "candidates": [], "labels": []}, "expected a text, or a list of texts, got []"),
        ({"query": "q", "candidates": ["x", "y"], "labels": [1]}, "expected a label for each of 2 candidates"),
        ({"query": "q", "positive": "x", "negatives": ["y", 3]}, "field 'negatives': expected a text, or a list"),
    ],
)
def test_bad_records(record: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 1: ") as error:
        read_examples(TASKS["rerank"], write(tmp_path / "bad.jsonl", record), skip=refuse)
    assert said in str(error.value)


def test_a_query_is_held_out_as_a_whole(tmp_path: Path) -> None:
    _, examples = read_examples(TASKS["rerank"], write(tmp_path / "a.jsonl", *pairs(20)), skip=refuse)
    kept, held = ({one.texts[0] for one in side} for side in hold_out(examples, 0.3))
    assert kept and held and not kept & held


def test_what_cannot_be_asked(tmp_path: Path, body: Path, ranker: Path) -> None:
    train = write(tmp_path / "a.jsonl", *(pair | {"label": 1} for pair in pairs(1)))
    with pytest.raises(DataError, match="expected candidates that belong to their query and others that do not"):
        finetune(config(tmp_path, body, task="rerank", train=train, dev=train))
    model = bothways.load(ranker, device="cpu")
    with pytest.raises(UsageError, match="expected a text or more to rank, got none"):
        model.rerank("the quick", [])
    with pytest.raises(UsageError, match="rerank: expected a query and a list of texts, got 'the quick'"):
        model.predict("rerank", ["the quick"])
    with pytest.raises(ModelError, match="not to extract"):
        model.extract("The quick fox.")


@pytest.mark.parametrize("side", ["dev", "test"])
def test_what_cannot_be_ranked_is_refused_before_training(side: str, tmp_path: Path, body: Path) -> None:
    """Every query with one candidate: each label is there, and nothing to rank."""
    train = write(tmp_path / "pairs.jsonl", *pairs())
    alone = write(tmp_path / "alone.jsonl", *({**one, "query": f"q {n}"} for n, one in enumerate(pairs(1))))
    told = config(tmp_path, body, task="rerank", train=train, **{"dev": train, side: alone})
    with pytest.raises(DataError, match=r"alone\.jsonl: expected a query with candidates that belong to it"):
        finetune(told)
    assert not (told.out / "checkpoints").exists()
