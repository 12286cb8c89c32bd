"""Two texts in BERT's shape: what is saved gives our numbers through AutoTokenizer and the pipeline alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bothways
from bothways.inference.pipeline import logits_of
from bothways.tasks.encoding import encode_texts
from bothways.text import Tokenizer
from bothways.training.finetuning import finetune
from tests.inference.made import MLM, make_run
from tests.tasks.conftest import config, write

transformers = pytest.importorskip("transformers")

PAIRS = [("the quick fox", "jumps over the dog"), ("lazy", "so few sentences"), ("nobody", "the dog")]
CONTEXT = "Reading is seeing with another's eyes; once upon a time nobody read."
RECORDS: dict[str, list[dict[str, Any]]] = {
    "classify": [{"text_a": a, "text_b": b, "label": label} for (a, b), label in zip(PAIRS, "xyx", strict=True)],
    "regress": [{"text_a": a, "text_b": b, "score": float(n)} for n, (a, b) in enumerate(PAIRS)],
    "choose": [{"question": a, "choices": [b, "a fox"], "answer": n % 2} for n, (a, b) in enumerate(PAIRS)],
    "answer": [
        {"context": CONTEXT, "question": a, "answers": [{"text": "nobody", "start": CONTEXT.index("nobody")}]}
        for a, _ in PAIRS
    ],
}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bodies") / "bert"
    return make_run(folder, MLM, kind="wordpiece", classic=True, segments=2)


def tuned(task: str, body: Path, folder: Path) -> Path:
    folder.mkdir()
    train = write(folder / "pairs.jsonl", *RECORDS[task] * 3)
    run: Path = finetune(config(folder, body, task=task, train=train, dev=train, epochs=1))
    return run


@pytest.mark.parametrize("task", RECORDS)
def test_transformers_alone_gives_our_numbers(task: str, bert: Path, tmp_path: Path) -> None:
    run = tuned(task, bert, tmp_path / task)
    folders = [run / "model", *bothways.load(run, device="cpu").save(tmp_path / "again")]
    for folder in folders:
        engine = bothways.load(folder, device="cpu").engine
        pairs = [(question, CONTEXT) for question, _ in PAIRS] if task == "answer" else PAIRS
        examples = [encode_texts(engine.tokenizer, pair, length=64) for pair in pairs]
        if task == "answer":
            examples = [replace(one, at=np.arange(len(one.tokens)), of=np.arange(len(one.tokens))) for one in examples]
        assert engine.abilities.only_head is not None
        samples = [one.sample(engine.abilities.only_head) for one in examples]
        ours = [logits for (logits,) in logits_of(engine.model, samples)]
        tokens = transformers.AutoTokenizer.from_pretrained(folder)
        kind = "QuestionAnswering" if task == "answer" else "SequenceClassification"
        theirs = getattr(transformers, f"AutoModelFor{kind}").from_pretrained(folder).eval()
        for pair, example, found in zip(pairs, examples, ours, strict=True):
            asked = tokens(*pair, return_tensors="pt")
            assert asked["token_type_ids"][0].tolist() == example.segments.tolist()
            with torch.no_grad():
                said = theirs(**asked)
                unsaid = theirs(**{**asked, "token_type_ids": torch.zeros_like(asked["token_type_ids"])})
            expected, other = (
                np.stack([one.start_logits[0], one.end_logits[0]], axis=-1) if task == "answer" else one.logits
                for one in (said, unsaid)
            )
            assert np.allclose(found, expected, atol=1e-5)
            assert not np.allclose(found, other, atol=1e-3)


def test_the_pipeline_gives_our_probabilities(bert: Path, tmp_path: Path) -> None:
    folder = tuned("classify", bert, tmp_path / "classify") / "model"
    pipeline = transformers.pipeline("text-classification", model=str(folder), top_k=None)
    ours = bothways.load(folder, device="cpu").classify(PAIRS)
    for (one, other), found in zip(PAIRS, ours, strict=True):
        theirs = {said["label"]: said["score"] for said in pipeline({"text": one, "text_pair": other})}
        assert found.probabilities == pytest.approx(theirs, abs=1e-5)


def test_a_model_without_segments_is_given_none(tmp_path: Path) -> None:
    body = make_run(tmp_path / "modern", MLM, kind="wordpiece")
    folder = tuned("classify", body, tmp_path / "classify") / "model"
    assert "token_type_ids" not in transformers.AutoTokenizer.from_pretrained(folder)(*PAIRS[0])
    assert Tokenizer.load(folder).frame.second == 0
    pipeline = transformers.pipeline("text-classification", model=str(folder), top_k=None)
    theirs = {said["label"]: said["score"] for said in pipeline({"text": PAIRS[0][0], "text_pair": PAIRS[0][1]})}
    assert bothways.load(folder, device="cpu").classify([PAIRS[0]])[0].probabilities == pytest.approx(theirs, abs=1e-5)
