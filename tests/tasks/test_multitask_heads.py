"""One model, several heads: two of one kind, tags and words learn from mixed rows, and each is found by its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bothways
from bothways.batch import Batch, Row, Sample
from bothways.errors import ModelError
from bothways.inference.engine import Engine
from bothways.inference.language_model import LanguageModel
from bothways.model import Abilities, Model, ModelConfig, TaskHead, save_faces
from bothways.model.losses import plain_loss
from bothways.objectives import build
from bothways.tasks import TASKS
from bothways.tasks.task import Example
from bothways.tasks.words import Words
from bothways.text import Tokenizer
from tests.inference.made import tokenizer

TEXTS = ("the quick fox jumps", "the lazy dog", "over the quick brown fox", "the lazy dog jumps")
MOOD = TaskHead("classify", "label", ("bad", "good"), "one", "encoder", 1, name="mood")
SPEED = TaskHead("classify", "label", ("fast", "slow"), "one", "encoder", 1, name="speed")
TAGS = TaskHead("tag", "tags", ("O", "B-PET"), "one", "encoder", name="pets")
HEADS = (MOOD, SPEED, TAGS)


def gold(head: TaskHead, text: str) -> Any:
    words = text.split()
    if head is TAGS:
        return tuple("B-PET" if word in ("fox", "dog") else "O" for word in words)
    return ("good" if "fox" in words else "bad") if head is MOOD else ("fast" if "jumps" in words else "slow")


def samples(own: Tokenizer, rng: np.random.Generator) -> list[Sample]:
    """Every text for every head, and its hidden words for the words head: rows of all four kinds."""
    found = []
    mlm = build("mlm(rate=0.3)", own.vocabulary)
    for text in TEXTS:
        for head in HEADS:
            words = Words.joined(text.split()) if head is TAGS else None
            example = Example(0, (text,), gold(head, text), "here, line 1", words)
            found += TASKS[head.task].encode(example, own, head, length=32)
        tokens = found[-1].tokens
        row = Row(tokens, np.zeros_like(tokens), own.word_starts(tokens))
        found.append(mlm.sample(row, rng, 0.0))
    return found


@pytest.fixture(scope="module")
def taught() -> tuple[Model, list[dict[str, float]]]:
    """A small model after some steps, and its losses at the first and at the last."""
    own, rng = tokenizer("wordpiece"), np.random.default_rng(0)
    config = ModelConfig(vocabulary=own.vocabulary.size, layers=2, width=32, heads=2, inner=64, length=64)
    model = Model(config, heads={head.name: head.factory for head in HEADS})
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = []
    for _ in range(120):
        batch = Batch.stack(samples(own, rng))
        assert {target.head for target in batch.targets} == {"mood", "speed", "pets", "words"}
        losses = plain_loss(model, batch)
        optimiser.zero_grad()
        torch.stack([loss / count for loss, count in losses.values()]).sum().backward()
        optimiser.step()
        history.append({name: float(loss.detach() / count) for name, (loss, count) in losses.items()})
    return model.eval(), [history[0], history[-1]]


ABILITIES = Abilities("mlm", ("encoder",), "in place", heads={head.name: head for head in HEADS})


def test_four_tasks_learn_from_mixed_rows(taught: tuple[Model, list[dict[str, float]]]) -> None:
    _, (first, last) = taught
    assert first.keys() == last.keys() == {"mood", "speed", "pets", "mlm"}
    assert all(last[name] < 0.7 * first[name] for name in first)


def check_answers(model: LanguageModel) -> None:
    for head in (MOOD, SPEED):
        found = model.classify([*TEXTS], head=head.name)
        assert [one.label for one in found] == [gold(head, text) for text in TEXTS]
    assert [tuple(one.tags) for one in model.tag([*TEXTS])] == [gold(TAGS, text) for text in TEXTS]
    assert len(model.fill("the [MASK] fox")[0]) == 5
    with pytest.raises(ModelError, match="with several heads: name one, mood, speed"):
        model.classify("the dog")
    with pytest.raises(ModelError, match=r"fine-tuned to classify \(mood\), .* not to classify as 'taste'"):
        model.classify("the dog", head="taste")


def test_each_is_found_by_its_name_and_comes_back_from_a_folder(
    taught: tuple[Model, list[dict[str, float]]], tmp_path: Path
) -> None:
    model, own = taught[0], tokenizer("wordpiece")
    check_answers(LanguageModel(Engine(model, own, ABILITIES)))
    (folder,) = save_faces(
        tmp_path,
        weights=model.state_dict(),
        config=model.config,
        vocabulary=own.vocabulary,
        trained=ABILITIES,
        save_tokenizer=lambda folder, face: own.save(folder, template=face, length=64, segments=False),
        card=lambda face: "# several\n",
    )
    again = bothways.load(folder, device="cpu")
    assert folder.name == "encoder" and again.engine.abilities == ABILITIES
    check_answers(again)


def test_two_heads_without_words_are_a_body_with_heads_beside_it() -> None:
    several = Abilities.of_heads(MOOD, SPEED)
    assert several.folders == {"model": "body"} and several.only_head is None
    assert Abilities.from_json(json.loads(json.dumps(several.as_json()))) == several


def test_an_older_record_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"bothways.json: of an older version, and this Bothways reads version 3"):
        Abilities.from_json({"objective": "mlm", "faces": ["encoder"], "hidden": "in place"})
    with pytest.raises(ModelError, match=r"bothways.json: of version 9, and"):
        Abilities.from_json({**ABILITIES.as_json(), "version": 9})
