"""A reward model: it learns from pairs, and transformers' class gives the same number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import bothways
from bothways.batch import Batch
from bothways.errors import DataError, UsageError
from bothways.inference.best_of import BestOf, best_of, ranked
from bothways.inference.decoding.options import Generation
from bothways.model import Model, TaskHead
from bothways.tasks.packing import pack
from bothways.tasks.reward import RewardTask
from bothways.tasks.task import Example
from bothways.text.conversation import plain_template
from bothways.training.finetuning import FinetuneConfig, evaluate, finetune, predict
from tests.conftest import Once
from tests.inference.made import tokenizer
from tests.model.small import MODERN, changed
from tests.tasks.conftest import write
from tests.training.finetuning.test_preferences import pairs, single


def config(folder: Path, body: Path, *records: dict[str, Any], **changes: Any) -> FinetuneConfig:
    folder.mkdir(parents=True, exist_ok=True)
    train = write(folder / "train.jsonl", *(records or pairs()))
    values = {"model": str(body), "task": "reward", "train": train, "dev": train, "out": folder / "run", "batch": 8}
    return FinetuneConfig(**{**values, "precision": "fp32", "learning_rate": 3e-3, **changes})


@pytest.fixture(scope="session", params=["decoder", "encoder"])
def judge(request: pytest.FixtureRequest, once: Once, body: Path) -> Path:
    reads = request.param
    return once(f"reward-{reads}", lambda folder: finetune(config(folder, body, reads=reads), device="cpu"))


def test_it_tells_better_answers_from_worse_ones(judge: Path, tmp_path: Path) -> None:
    new = write(tmp_path / "new.jsonl", *({**one, "prompt": f"the {i} fox"} for i, one in enumerate(pairs(32))))
    scores = evaluate(judge, new, device="cpu")
    assert scores["accuracy"] > 0.9 and scores["margin"] > 0.5
    asked = write(tmp_path / "asked.jsonl", *({"prompt": "a fox", "completion": one} for one in ("quick", "learns")))
    better, worse = predict(judge, asked, device="cpu")
    assert better["reward"] > worse["reward"] and better["margin"] is None


def test_transformers_gives_the_same_number(judge: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(judge / "model").eval()
    encode = transformers.AutoTokenizer.from_pretrained(judge / "model")
    ours = bothways.load(judge, device="cpu").predict("reward", [("quick 3", "fox"), ("a dog", "learns")])
    with torch.no_grad():
        theirs = [
            float(model(**encode(*one, return_tensors="pt")).logits)
            for one in (("quick 3", "fox"), ("a dog", "learns"))
        ]
    assert model.num_labels == 1 and [one.reward for one in ours] == pytest.approx(theirs, abs=1e-4)


def test_the_loss_is_bradley_terrys() -> None:
    own, task = tokenizer("wordpiece"), RewardTask()
    head = TaskHead("reward", "label", ("reward",), "choice", "decoder")
    model = Model(changed(MODERN, vocabulary=own.vocabulary.size), heads={"label": head.factory}).eval()
    examples = [
        Example(i, ("fox", one, other), 0, "", sealed=("fox",), messages=({"role": "user", "content": "fox"},))
        for i, (one, other) in enumerate([("quick", "lazy dog"), ("a small model", "dog"), ("fox", "reading")])
    ]
    samples = [task.encode(example, own, head, length=64) for example in examples]
    batch = pack([one for some in samples for one in some], torch.arange(3).repeat_interleave(2).numpy()).batch
    (target,), (hidden,) = batch.targets, model.hidden_at(batch)
    loss, count = model.head("label").loss_at(hidden, target)
    rewards = [
        [float(model.head("label").logits(model.hidden_at(alone)[0], alone.targets[0]).detach()) for alone in some]
        for some in ([Batch.stack([one]) for one in some] for some in samples)
    ]
    expected = -F.logsigmoid(torch.tensor([good - bad for good, bad in rewards])).sum()
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-4) and float(count) == pytest.approx(3)


def test_the_best_of_several_texts(judge: Path, body: Path) -> None:
    model, reward = bothways.load(body, device="cpu"), bothways.load(judge, device="cpu")
    found = best_of(model, ["quick 3", "a dog"], reward, n=5, max_new_tokens=4)
    sampled = model.generate(["quick 3", "a dog"], temperature=1.0, num_return_sequences=5, max_new_tokens=4)
    for one, prompt, some in zip(found, ["quick 3", "a dog"], sampled, strict=True):
        texts = [one.best.text, *(other.text for other in one.best.others)]
        assert sorted(texts) == sorted([some.text, *(other.text for other in some.others)])
        again = [one.reward for one in reward.predict("reward", [(prompt, text) for text in texts])]
        assert one.rewards == pytest.approx(again, abs=1e-4) and list(one.rewards) == sorted(one.rewards, reverse=True)
    alone = best_of(model, "quick 3", lambda prompt, answer: -len(answer), n=3, max_new_tokens=4)
    assert isinstance(alone, BestOf) and str(alone) == alone.best.text and len(alone.rewards) == 3
    with pytest.raises(UsageError, match="a model that was fine-tuned to reward, or a function, got 3"):
        best_of(model, "quick", 3, n=2)  # type: ignore[call-overload]


def test_of_equals_the_first_is_taken() -> None:
    one, two = Generation("a", (1,), -1.0, "stop", "a"), Generation("b", (2,), -1.0, "stop", "b")
    found = Generation("a", (1,), -1.0, "stop", "a", (two,))
    assert ranked(found, [1.0, 1.0]).best == Generation("a", (1,), -1.0, "stop", "a", (two,))
    assert ranked(found, [0.0, 1.0]).best == Generation("b", (2,), -1.0, "stop", "b", (one,))


@pytest.mark.parametrize("inputs", ["text", ("a", 3), ("a",)])
def test_a_prompt_and_an_answer_are_needed(inputs: Any, judge: Path) -> None:
    with pytest.raises(UsageError, match=r"reward: expected \(prompt, answer\), got"):
        bothways.load(judge, device="cpu").predict("reward", [inputs])


def test_what_cannot_be_compared_is_named(body: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 1: reward compares two answers to a prompt"):
        finetune(config(tmp_path, body, *single()), device="cpu")
    with pytest.raises(DataError, match="line 1: field 'rejected': expected an answer that differs"):
        finetune(config(tmp_path, body, {"prompt": "a", "chosen": "b", "rejected": "b"}), device="cpu")


def test_how_it_is_saved(judge: Path) -> None:
    told = json.loads((judge / "model" / "config.json").read_text(encoding="utf-8"))
    assert told["id2label"] == {"0": "reward"}
    assert told["architectures"][0].endswith("ForSequenceClassification")


def test_columns_of_answers_to_be_rated_are_named(judge: Path, tmp_path: Path) -> None:
    """Also in a file that has pairs."""
    pairs = write(tmp_path / "pairs.jsonl", {"prompt": "fox", "chosen": "a fox", "rejected": "no"})
    rated = predict(judge, pairs, columns={"completion": "chosen"}, device="cpu")
    plain = write(tmp_path / "plain.jsonl", {"prompt": "fox", "completion": "a fox"})
    assert rated.records == predict(judge, plain, device="cpu").records


def test_a_soft_prompt_stays_before_a_conversation_that_is_cut() -> None:
    own = tokenizer().for_chat(plain_template("[CLS]", "[SEP]"), end=tokenizer().vocabulary.sep).behind_prompt(3)
    task, head = RewardTask(), RewardTask().head([], reads="decoder")
    example = task.given(("fox " * 40, "the lazy dog"), head)
    (sample,) = task.encode(example, own, head, length=16)
    assert len(sample) == 16 and sample.tokens[:3].tolist() == [*own.prompt]
    assert own.decode(sample.tokens[3:]).endswith("the lazy dog")


@pytest.mark.parametrize("value", [None, "good", float("nan")])
def test_a_reward_is_a_number(value: Any, body: Path) -> None:
    with pytest.raises(UsageError, match="reward: expected a number, got"):
        bothways.best_of(bothways.load(body, device="cpu"), "fox", lambda prompt, answer: value, n=2, max_new_tokens=2)
