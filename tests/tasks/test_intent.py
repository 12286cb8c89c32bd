"""Intents and slots in one pass: both are learned, scored as they should be, and said alike by transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bothways
from bothways.errors import DataError
from bothways.model import TaskHead
from bothways.tasks import TASKS
from bothways.tasks.intent import INTENT, encode_intent
from bothways.tasks.words import Words
from bothways.training.finetuning import evaluate, finetune
from tests.inference.made import tokenizer
from tests.tasks.conftest import config, tagged, write

transformers = pytest.importorskip("transformers")


def wishes(times: int = 24) -> list[dict[str, Any]]:
    found = []
    for number, record in enumerate(tagged(times)):
        asks = number % 2 == 0
        record["tokens"][0] = "quick" if asks else "lazy"
        found.append(record | {"intent": "call" if asks else "sleep"})
    return found


def test_intents_and_slots_are_learned_together(tmp_path: Path, body: Path) -> None:
    train = write(tmp_path / "data.jsonl", *wishes())
    run = finetune(config(tmp_path, body, task="intent", train=train, dev=train, epochs=12))
    scores = evaluate(run, train)
    assert scores["intent_accuracy"] > 0.9 and scores["slot_f1"] > 0.8
    assert scores["whole"] <= min(scores["intent_accuracy"], 1.0)
    model = bothways.load(run, device="cpu")
    text = "lazy quick Mr Fox jumps over 4"
    said = model.intent(text)
    assert said.intent == "sleep" and said.intent_probability > 0.5
    assert not any(label.startswith(INTENT) for label in said.tags)
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(run / "model").eval()
    own = model.engine.tokenizer
    ids = [own.vocabulary.cls, *own.encode(text), own.vocabulary.sep]
    with torch.inference_mode():
        logits = theirs(torch.tensor([ids])).logits[0, 0]
    intents = [i for i, label in theirs.config.id2label.items() if label.startswith(INTENT)]
    assert theirs.config.id2label[max(intents, key=lambda i: float(logits[i]))] == f"{INTENT}sleep"


@pytest.mark.parametrize("reads", ["encoder", "decoder"])
def test_the_intent_stands_where_all_of_the_text_was_read(reads: Any) -> None:
    answers = TaskHead("intent", "tags", ("O", "intent:a"), "one", reads)
    words = Words.of("the fox " * 30)
    parts = encode_intent(tokenizer(), words, answers, length=24)
    assert len(parts) > 1
    chosen, place = (parts[0], 0) if reads == "encoder" else (parts[-1], len(parts[-1].tokens) - 1)
    assert (int(chosen.at[-1]), int(chosen.of[-1])) == (place, len(words))
    assert sorted(np.concatenate([part.of for part in parts]).tolist()) == list(range(len(words) + 1))


def test_whole_counts_texts_of_which_everything_is_right() -> None:
    golds = [("O", "B-A", "intent:x"), ("O", "O", "intent:y"), ("B-A", "O", "intent:x")]
    said = [
        {"tags": ["O", "B-A"], "intent": "x"},
        {"tags": ["O", "O"], "intent": "x"},
        {"tags": ["O", "O"], "intent": "x"},
    ]
    from bothways.tasks.task import Example

    examples = [Example(i, ("",), gold, "") for i, gold in enumerate(golds)]
    answers = TaskHead("intent", "tags", ("O", "B-A", "I-A", "intent:x", "intent:y"), "one", "encoder")
    scores = TASKS["intent"].score(examples, said, answers)
    assert scores["whole"] == pytest.approx(1 / 3) and scores["intent_accuracy"] == pytest.approx(2 / 3)
    assert scores["slot_precision"] == 1.0 and scores["slot_recall"] == 0.5


def test_a_record_without_an_intent_is_refused(tmp_path: Path, body: Path) -> None:
    train = write(tmp_path / "data.jsonl", *wishes(4), wishes(1)[0] | {"intent": ""})
    with pytest.raises(DataError, match=r"line 5: field 'intent': expected the name of an intent, got ''"):
        finetune(config(tmp_path, body, task="intent", train=train, dev=train))


def test_a_wrong_intent_is_a_mistake() -> None:
    from bothways.tasks.task import Example

    task, words = TASKS["intent"], Words.of("play jazz")
    example = Example("0", ("play jazz",), ("O", "B-kind", INTENT + "music"), "line 1", words=words)
    right = {"tags": ["O", "B-kind"], "probabilities": [0.9, 0.8], "intent": "music", "intent_probability": 0.7}
    head = TaskHead("intent", "tags", ("O", "B-kind", INTENT + "music", INTENT + "news"), "one", "encoder")
    assert task.mistake(example, right, head) is None
    found = task.mistake(example, {**right, "intent": "news"}, head)
    assert found is not None and found[0] == 0.7 and "news" in str(found[1])
    both = task.mistake(example, {**right, "intent": "news", "tags": ["O", "O"]}, head)
    assert both is not None and both[0] == 0.8 and len(both[1]) > len(found[1])
