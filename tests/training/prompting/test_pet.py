"""PET: members, what they say together, what they teach, and the classifier that learns it."""

from __future__ import annotations

import json
import os
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bothways import machine
from bothways.errors import DataError, ModelError, Stopped, UsageError
from bothways.inference.prompting import Prompt, ask
from bothways.tasks.pattern import Pattern, Slots
from bothways.training.finetuning import evaluate, layer_decay, predict
from bothways.training.prompting import PetConfig, pet, run
from bothways.training.prompting.ensemble import Member, taught_by_others, together, weights_of
from bothways.training.prompting.member import (
    CLOZE,
    WORDS,
    MemberData,
    _Batches,
    _losses,
    open_filler,
    shuffled_batch,
    train_member,
)
from tests.conftest import Once
from tests.inference.made import CAUSAL, make_run
from tests.tasks.conftest import write

PATTERNS = ("{text} It was [MASK].", "[MASK] : {text}")
VERBALISER = "good=quick,bad=lazy"
CUES = {"good": "fox", "bad": "dog"}
FILLERS = "the model reads once upon a time over and under it is so".split()


def texts(count: int, seed: int) -> list[dict[str, str]]:
    """Six words in some order, three of which tell the label; the others are drawn."""
    rng, found = np.random.default_rng(seed), []
    for number in range(count):
        label = ("good", "bad")[number % 2]
        words = [*[CUES[label]] * 3, *rng.choice(FILLERS, 3)]
        found.append({"text": " ".join(rng.permutation(words).tolist()), "label": label})
    return found


def config(folder: Path, body: Path, **changes: Any) -> PetConfig:
    """Ten labelled texts, and a hundred without labels."""
    folder.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {
        "model": str(body),
        "train": write(folder / "few.jsonl", *texts(10, 1)),
        "unlabelled": write(folder / "many.jsonl", *({"text": one["text"]} for one in texts(100, 2))),
        "test": write(folder / "test.jsonl", *texts(100, 3)),
        "pattern": PATTERNS,
        "verbaliser": VERBALISER,
        "out": folder / "run",
        "precision": "fp32",
        "learning_rate": 3e-3,
        "repetitions": 1,
        "steps": 20,
        "epochs": 6,
    }
    return PetConfig(**{**values, **changes})


def quick(folder: Path, body: Path, **changes: Any) -> PetConfig:
    return config(folder, body, **{"steps": 3, "epochs": 1, **changes})


@pytest.fixture(scope="session")
def trained(once: Once, body: Path) -> Path:
    return once("pet", lambda folder: pet(config(folder, body)))


def manifest(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "pet" / "manifest.json").read_text())
    return found


def test_ten_examples_beat_the_commonest_label(trained: Path) -> None:
    """PET from ten labelled texts, on a hundred that it has not seen: the interval is above what one label gets."""
    told = json.loads((trained / "manifest.json").read_text())
    assert told["majority"]["scores"]["accuracy"] == 0.5
    assert told["test_intervals"]["accuracy"][0] > 0.5


def test_the_run_is_one_that_finetune_made(trained: Path) -> None:
    test = trained.parent / "test.jsonl"
    found = evaluate(trained, test, device="cpu")
    assert found["accuracy"] == json.loads((trained / "manifest.json").read_text())["test"]["accuracy"]
    assert {one["label"] for one in predict(trained, test, device="cpu")} == {"good", "bad"}


def test_the_manifest_has_every_member_and_the_ensemble(trained: Path) -> None:
    told = manifest(trained)
    assert told["status"] == "done"
    assert [one["pattern"] for one in told["members"]] == [*PATTERNS]
    assert all(one["taught"] == 10 and one["train"] > one["untrained"] for one in told["members"])
    assert sum(told["weights"].values()) == pytest.approx(1)
    before = {one["name"]: one["untrained"] for one in told["members"]}
    total = sum(before.values())
    assert told["weights"] == pytest.approx({name: share / total for name, share in before.items()})
    assert told["ensemble"]["test"] > 0.5
    assert sum(told["labelled"].values()) == 100


def test_soft_labels_are_the_softmax_of_the_weighted_mean_at_a_temperature(trained: Path) -> None:
    told = manifest(trained)
    members = [Member.load(trained / "pet" / "members", 1, pattern, 1) for pattern in (1, 2)]
    mean = sum(told["weights"][one.name] * one.unlabelled for one in members if one)
    expected = torch.tensor(mean / 2).softmax(-1).numpy()
    records = [json.loads(line) for line in (trained / "pet" / "soft.jsonl").read_text().splitlines()]
    np.testing.assert_allclose([[*one["soft_labels"].values()] for one in records], expected, atol=1e-5)
    assert [one["label"] for one in records] == [("good", "bad")[i] for i in expected.argmax(1)]
    assert [one["text"] for one in records] == [one["text"] for one in texts(100, 2)]


def test_the_loss_is_the_papers(tmp_path: Path, body: Path) -> None:
    """alpha * cross-entropy over the words + (1 - alpha) * cross-entropy of hidden words, both means."""
    chosen = quick(tmp_path, body, alpha=0.9, batch=4)
    engine = open_filler(chosen, torch.device("cpu"))
    prompt = Prompt(Pattern.parse(PATTERNS[0]), {"good": "quick", "bad": "lazy"})
    slots = Slots.of(prompt.pattern, prompt.verbaliser, engine.tokenizer)
    examples = [((one["text"],), one["label"]) for one in texts(10, 1)]
    made = _Batches(chosen, engine, prompt, slots, MemberData(examples, [text for text, _ in examples], 5))
    cloze, hidden = made.of_step(0, 0.0)
    engine.model.eval()
    with torch.no_grad():
        losses, others = (_losses(chosen, engine.model, slots, batch) for batch in (cloze, hidden))
        logits = engine.model(hidden).flatten(0, 1)
    some = [examples[i] for i in shuffled_batch(10, 4, 0, 5)]
    scores = torch.tensor(ask(engine, prompt, [text for text, _ in some]).scores)
    labels = torch.tensor([("good", "bad").index(label) for _, label in some])
    assert float(losses[CLOZE][0]) == pytest.approx(0.9 * float(F.cross_entropy(scores, labels)), rel=1e-4)
    (target,) = hidden.targets
    expected = 0.1 * float(F.cross_entropy(logits[torch.as_tensor(target.at)], torch.as_tensor(target.labels)))
    assert float(others[WORDS][0]) == pytest.approx(expected, rel=1e-4)
    weights = [float(torch.as_tensor(one.targets[0].weight).sum()) for one in (cloze, hidden)]
    assert weights == pytest.approx([0.9, 0.1])
    assert engine.tokenizer.vocabulary.mask not in set(torch.as_tensor(target.labels).tolist())


def test_steps_go_through_all_examples_again_and_again() -> None:
    seen = [i for step in range(5) for i in shuffled_batch(10, 4, step, 0)]
    assert sorted(seen[:10]) == sorted(seen[10:]) == [*range(10)]
    assert seen[:10] != seen[10:]


def test_weights_are_accuracies_before_training() -> None:
    def member(scores: list[list[float]]) -> Member:
        none = np.zeros((0, 2), np.float32)
        return Member(1, 1, 1, 2, np.array(scores, np.float32), none, none, none)

    gold = np.array([0, 1])
    right, half, wrong = member([[1, 0], [0, 1]]), member([[1, 0], [1, 0]]), member([[0, 1], [1, 0]])
    np.testing.assert_allclose(weights_of([right, half], gold, equal=False), [2 / 3, 1 / 3])
    np.testing.assert_allclose(weights_of([right, half], gold, equal=True), [0.5, 0.5])
    np.testing.assert_allclose(weights_of([wrong, wrong], gold, equal=False), [0.5, 0.5])
    shares = together([np.array([[2.0, 0.0]]), np.array([[0.0, 4.0]])], np.array([0.75, 0.25]), temperature=2.0)
    np.testing.assert_allclose(shares, torch.tensor([[0.75, 0.5]]).softmax(-1).numpy(), rtol=1e-6)


def test_a_generation_is_taught_so_many_of_each_label_the_surest_likeliest() -> None:
    sure = np.linspace(0.5, 1.0, 40)
    shares = np.concatenate([np.stack([sure, 1 - sure], 1), np.stack([1 - sure, sure], 1)[1:4]])
    drawn = taught_by_others(shares, (10, 6), np.random.default_rng(0))
    by_label = {label: [text for text, one in drawn if one == label] for label in (0, 1)}
    assert {label: len(some) for label, some in by_label.items()} == {0: 10, 1: 6}
    assert len({text for text, _ in drawn}) == 16
    assert {40, 41, 42} <= {*by_label[1]}  # all that there are
    rest = [text for text in range(40) if text not in by_label[0]]
    assert {*by_label[1]} - {40, 41, 42} == {*sorted(rest, key=lambda text: -shares[text, 1])[:3]}


def test_generations_grow_by_labels_of_others(tmp_path: Path, body: Path) -> None:
    told = manifest(pet(quick(tmp_path, body, generations=3, growth=2, others=1.0)))
    assert [one["taught"] for one in told["members"]] == [10, 10, 20, 20, 40, 40]
    assert [*told["weights"]] == ["generation3-pattern1-1", "generation3-pattern2-1"]


def test_a_run_that_was_stopped_goes_on_with_the_next_member(
    tmp_path: Path, body: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pet(quick(tmp_path / "whole", body))
    train, trained = run.train_member, list[str]()

    def stopping(config: PetConfig, engine: Any, prompt: Prompt, *rest: Any) -> None:
        trained.append(prompt.pattern.text)
        if len(trained) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        train(config, engine, prompt, *rest)

    chosen = quick(tmp_path / "again", body)
    with monkeypatch.context() as patch:
        patch.setattr(run, "train_member", stopping)
        with pytest.raises(Stopped, match="stopped; the first 1 members are saved. Go on with: bothways pet --resume"):
            pet(chosen)
    assert manifest(chosen.out)["status"] == "stopped"
    with pytest.raises(UsageError, match="holds a run already"):
        pet(chosen)
    with pytest.raises(UsageError, match="started with other settings"):
        pet(chosen.model_copy(update={"steps": 4}), resume=True)
    lines = Path(chosen.unlabelled).read_text().splitlines(keepends=True)
    Path(chosen.unlabelled).write_text("".join(reversed(lines)))
    with pytest.raises(DataError, match="the records that members were trained from have changed since"):
        pet(chosen, resume=True)
    Path(chosen.unlabelled).write_text("".join(lines))
    again = pet(chosen, resume=True)
    assert trained == [*PATTERNS]
    for file in ("pet/soft.jsonl", "model/model.safetensors"):
        assert (again / file).read_bytes() == (whole / file).read_bytes()


def test_a_stop_of_the_classifier_names_the_command_that_goes_on(
    tmp_path: Path, body: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*given: Any, **named: Any) -> None:
        raise Stopped("after step 3", exit_code=143)

    monkeypatch.setattr(run, "finetune", stopped)
    chosen = quick(tmp_path, body)
    with pytest.raises(Stopped, match="all members .* are saved. Go on with: bothways pet --resume") as said:
        pet(chosen)
    assert said.value.exit_code == 143 and manifest(chosen.out)["status"] == "stopped"


def test_an_adapter_is_the_classifiers_and_members_learn_at_their_own_rate(
    tmp_path: Path, body: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, usual = list[float](), layer_decay.optimiser

    def seen(*given: Any, **named: Any) -> torch.optim.Optimizer:
        made = usual(*given, **named)
        found.append(made.param_groups[0]["lr"])
        return made

    monkeypatch.setattr(layer_decay, "optimiser", seen)
    for adapter in (None, "lora(rank=2)"):
        chosen = quick(tmp_path / str(adapter), body, adapter=adapter, steps=1, learning_rate=None)
        engine, prompt = (
            open_filler(chosen, torch.device("cpu")),
            Prompt(Pattern.parse(PATTERNS[0]), {"a": "quick", "b": "lazy"}),
        )
        train_member(chosen, engine, prompt, MemberData([(("the fox",), "a")], [], 0))
    assert found[0] == found[1] > 0


def test_pairs_by_the_names_of_their_columns(tmp_path: Path, body: Path) -> None:
    """The classifier's files have the columns of the user's."""
    few, many = (
        [{"headline": one["text"], "body": "it is so", "stars": one["label"]} for one in texts(count, count)]
        for count in (10, 40)
    )
    files = {"train": write(tmp_path / "a.jsonl", *few), "unlabelled": write(tmp_path / "b.jsonl", *many)}
    pattern = ("{headline} , {body} It was [MASK].",)
    chosen = quick(tmp_path, body, pattern=pattern, columns={"label": "stars"}, test=files["train"], **files)
    out = pet(chosen)
    record = json.loads((out / "pet" / "soft.jsonl").read_text().splitlines()[0])
    assert [*record] == ["headline", "body", "stars", "soft_labels"]
    assert evaluate(out, files["train"], device="cpu")["examples"] == 10


def test_too_few_texts_to_choose_an_epoch_by_are_refused_first(tmp_path: Path, body: Path) -> None:
    few = write(tmp_path / "one.jsonl", {"text": "the fox"})
    with pytest.raises(DataError, match="one.jsonl: expected examples to .*by a hash of their texts, got none.* --dev"):
        pet(quick(tmp_path, body, unlabelled=few))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"pattern": ()}, UsageError, "expected a pattern or more, got none"),
        (
            {"pattern": ("{text} [MASK]",), "generations": 2},
            UsageError,
            "taught by the other members of the one before",
        ),
        ({"dev": Path("nowhere.jsonl")}, DataError, "nowhere.jsonl"),
        ({"pattern": ("{text} It was.",)}, UsageError, "pattern '{text} It was.': expected one"),
        (
            {"pattern": ("{a} [MASK]", "{b} [MASK]")},
            UsageError,
            "expected 'a', which another names, in the place of 'b'",
        ),
        ({"verbaliser": "good=quick,bad=unquick"}, UsageError, "one token for 'bad'.* got 'unquick', which"),
        (
            {"verbaliser": "good=quick,awful=lazy"},
            DataError,
            "few.jsonl, line 2: expected a label that the verbaliser has",
        ),
        ({"pattern": ("{text} " + "fox " * 80 + "[MASK]",)}, UsageError, "without a text; the model reads at most 64"),
    ],
)
def test_what_does_not_serve_is_refused_by_name(
    tmp_path: Path, body: Path, change: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        pet(quick(tmp_path, body, **change))


def test_a_model_that_fills_in_no_words_is_refused(tmp_path: Path) -> None:
    causal = make_run(tmp_path / "causal", CAUSAL, kind="wordpiece")
    with pytest.raises(ModelError, match="PET trains a model to fill in the word of a label.*causal.*mlm or hybrid"):
        pet(quick(tmp_path, causal))


def test_members_of_a_run_that_goes_on_compute_as_those_before(
    tmp_path: Path, body: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever this machine, or this version, would choose now."""
    monkeypatch.delenv(machine.BF16, raising=False)
    train, found = run.train_member, list[str]()

    def seen(config: PetConfig, *rest: Any) -> None:
        found.append(config.precision)
        train(config, *rest)
        if len(found) == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(run, "train_member", seen)
    chosen = quick(tmp_path, body, precision="auto")
    for instructions in ("amx_bf16", ""):
        monkeypatch.setattr(machine, "bf16_instructions", lambda root, said=instructions: said)
        with nullcontext() if found else pytest.raises(Stopped):
            pet(chosen, resume=bool(found), device="cpu")
    assert {*found} == {"bf16"} and len(found) > 1
