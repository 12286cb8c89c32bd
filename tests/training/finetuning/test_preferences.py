"""Models that are taught by preferences: every loss learns, a run goes on exactly, and what is wrong is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import bothways
from bothways.batch import Batch, Sample
from bothways.errors import DataError, ModelError, Stopped, UsageError
from bothways.inference.likelihoods import log_likelihoods
from bothways.tasks.prefer import said_in
from bothways.tasks.preferred import PreferredAnswer
from bothways.tasks.task import Example
from bothways.training import fit, loop
from bothways.training.finetuning import FinetuneConfig, finetune, predict
from bothways.training.finetuning.answers import Answers, answer_values
from bothways.training.finetuning.preferences import PreferenceTraining, preferred
from bothways.training.finetuning.reference import FILE
from bothways.training.finetuning.run import teaching_of
from bothways.training.finetuning.setup import FinetuneRun, set_up
from bothways.training.finetuning.start import check_both_kinds
from bothways.training.run_folder import RunFolder
from tests.conftest import Once
from tests.inference.made import BANG, SEQ2SEQ, make_run
from tests.tasks.conftest import write
from tests.training.small import ALONE

NAMES = "quick brown fox dog small model learns reading".split()


def pairs(count: int = 48) -> list[dict[str, Any]]:
    """One of the first four words is a better answer than one of the others."""
    words = [(i, NAMES[i % 8], NAMES[i % 4], NAMES[4 + i // 4 % 4]) for i in range(count)]
    return [{"id": i, "prompt": f"{a} {i}", "chosen": b, "rejected": c} for i, a, b, c in words]


def single(count: int = 48) -> list[dict[str, Any]]:
    """The same, one answer by one."""
    return [
        {"prompt": one["prompt"], "completion": one["chosen" if i % 3 else "rejected"], "label": bool(i % 3)}
        for i, one in enumerate(pairs(count))
    ]


def config(folder: Path, body: Path | str, *records: dict[str, Any], **changes: Any) -> FinetuneConfig:
    folder.mkdir(parents=True, exist_ok=True)
    train = write(folder / "train.jsonl", *(records or pairs()))
    values = {
        "model": str(body),
        "task": "prefer",
        "train": train,
        "dev": train,
        "out": folder / "run",
        "precision": "fp32",
        "epochs": 3,
        "batch": 8,
        "learning_rate": 2e-3,
        "target_length": 6,
        "dev_generated": 4,
    }
    return FinetuneConfig(**{**values, **changes})


def begun(told: FinetuneConfig) -> tuple[FinetuneRun, PreferenceTraining]:
    """A run before its first step."""
    run = set_up(told, ALONE, resume=False)
    teaching = teaching_of(run, again=False)
    assert isinstance(teaching, PreferenceTraining)
    return run, teaching


@pytest.fixture(scope="session")
def dpo_run(once: Once, body: Path) -> Path:
    return once("by-dpo", lambda folder: finetune(config(folder, body, test=folder / "train.jsonl"), device="cpu"))


@pytest.mark.parametrize(
    ("settings", "records"),
    [
        ({"loss": "orpo"}, pairs()),
        ({"loss": "kto"}, pairs()),
        ({"loss": "kto", "class_weights": "balanced"}, single()),
        ({"loss": "dpo", "label_smoothing": 0.1, "length_normalised": True}, pairs()),
        ({"objective": "prefix"}, pairs()),
        ({"objective": "seq2seq"}, pairs()),
    ],
    ids=lambda one: "-".join(map(str, one.values())) if isinstance(one, dict) else "",
)
def test_every_loss_learns(settings: dict[str, Any], records: list[dict[str, Any]], body: Path, tmp_path: Path) -> None:
    run = finetune(config(tmp_path, body, *records, **settings), device="cpu")
    told = RunFolder(run).manifest()
    before, after = told["before"]["scores"], told["best"]["scores"]
    assert after["accuracy"] > 0.8 > 0.65 > before["accuracy"] and after["margin"] > before["margin"]
    assert before["kl"] == 0 < after["kl"] and told["before"]["better_by"]["accuracy"][0] > 0
    losses = [line["loss"] for line in RunFolder(run).lines() if line["kind"] == "validation"]
    assert losses[-1] < losses[0]


def test_what_is_learned_is_saved_and_answers(dpo_run: Path, tmp_path: Path) -> None:
    """The rewards of the saved model are those that the run measured, by transformers' own model too."""
    told, model = RunFolder(dpo_run).manifest(), bothways.load(dpo_run, device="cpu")
    assert told["test"]["accuracy"] == 1.0 and told["test_intervals"]["margin"][0] > 0.3
    assert model.chat([{"role": "user", "content": "quick brown"}], temperature=0) == model.generate("quick brown")
    (asked,) = predict(dpo_run, write(tmp_path / "asked.jsonl", {"prompt": "quick brown"}))
    assert asked["messages"][-1]["content"] == model.generate("quick brown").text
    page = (dpo_run / "report.html").read_text(encoding="utf-8")
    assert "What it answers" in page and "KL to the model before" in page and "Before, test" in page


def test_a_saved_decoder_prefers_in_transformers_what_it_prefers_here(dpo_run: Path, body: Path) -> None:
    transformers = pytest.importorskip("transformers")
    after, before = (
        transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        for folder in (dpo_run / "model", body / "decoder")
    )
    tokenizer = bothways.load(dpo_run, device="cpu").tokenizer
    vocabulary, margins = tokenizer.vocabulary, []
    for one in pairs(8):
        rewards = []
        for answer in (one["chosen"], one["rejected"]):
            prompt = [vocabulary.cls, *tokenizer.encode(one["prompt"]), vocabulary.sep]
            row = torch.tensor([[*prompt, *tokenizer.encode(answer), vocabulary.sep]])
            with torch.no_grad():
                logs = [model(row).logits[0, :-1].log_softmax(-1) for model in (after, before)]
            sums = [one.gather(1, row[0, 1:, None])[len(prompt) - 1 :].sum() for one in logs]
            rewards.append(0.1 * float(sums[0] - sums[1]))
        margins.append(rewards[0] - rewards[1])
    run, teaching = begun(config(dpo_run.parent / "again", body, *pairs(8)))
    run.model.load_state_dict(load_best(dpo_run))
    assert np.mean(margins) == pytest.approx(teaching.measured("dev", run.model).scores["margin"], abs=1e-4)


def load_best(run: Path) -> dict[str, torch.Tensor]:
    """The weights of a run's best epoch, by the names of our model."""
    step = RunFolder(run).manifest()["best"]["step"]
    return load_file(run / "checkpoints" / f"step-{step}" / "weights.safetensors")


@pytest.mark.parametrize("loss", ["dpo", "kto"])
def test_the_loss_of_a_step_is_what_the_formula_gives_of_all_logits(loss: str, body: Path, tmp_path: Path) -> None:
    """However the answers are packed: the batch of a step beside each answer alone, with the whole softmax."""
    run, teaching = begun(config(tmp_path, body, loss=loss, beta=0.5))
    with torch.no_grad():
        for parameter in run.model.parameters():  # away from the reference
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)) * 0.02)
    (batch,) = teaching.batches(0, 0.0)
    ((total, count),) = teaching.losses(batch, torch.Generator()).values()

    @torch.no_grad()
    def ratio(sample: Sample) -> float:
        found = []
        for model in (run.model, run.reference):
            assert model is not None
            logs = model.logits(model.states(stacked(sample)))[0].log_softmax(-1).double()
            (words,) = sample.targets
            found.append(float(sum(logs[at, label] for at, label in zip(words.at, words.labels, strict=True))))
        return found[0] - found[1]

    side, order = teaching.sides["train"], np.random.default_rng([0, 0]).permutation(48)[:8]
    base = max(0.0, float(np.mean([ratio(side.others[i]) for i in order]))) if loss == "kto" else 0.0
    expected = []
    for i in order:
        good, bad = (ratio(one) for one in side.parts[i])
        if loss == "dpo":
            expected.append(-np.log(1 / (1 + np.exp(-0.5 * (good - bad)))))
        else:
            expected += [1 - 1 / (1 + np.exp(-0.5 * (good - base))), 1 - 1 / (1 + np.exp(-0.5 * (base - bad)))]
    assert float((total / count).detach()) == pytest.approx(float(np.mean(expected)), rel=1e-4)
    assert float(count) == len(expected)


def stacked(sample: Sample) -> Batch:
    """An answer alone, as a batch."""
    return Batch.stack([sample])


def test_kto_pairs_a_prompt_with_the_answer_to_another(body: Path, tmp_path: Path) -> None:
    records = [{"prompt": NAMES[i // 2], "completion": NAMES[i], "label": i % 2 == 0} for i in range(6)]
    run, teaching = begun(config(tmp_path, body, *records, loss="kto"))
    texts = [run.tokenizer.decode(one.tokens).split() for one in teaching.sides["train"].others]
    assert texts == [[NAMES[i // 2], NAMES[[2, 2, 4, 4, 0, 0][i]]] for i in range(6)]


def test_balanced_classes_weigh_alike(body: Path, tmp_path: Path) -> None:
    _, teaching = begun(config(tmp_path, body, *single(), loss="kto", class_weights="balanced", batch=48))
    weights: dict[float, float] = {}
    for batch in teaching.batches(0, 0.0):
        beside = answer_values(batch)
        for sign, weight in zip(torch.as_tensor(beside.labels)[:, 0], torch.as_tensor(beside.weight), strict=True):
            weights[float(sign)] = weights.get(float(sign), 0.0) + float(weight)
    assert weights[1.0] == pytest.approx(weights[-1.0]) == pytest.approx(24)


def test_single_answers_are_compared_with_each_other() -> None:
    rewards, signs = [[3.0], [1.0], [1.0], [0.0]], [[1.0], [1.0], [-1.0], [-1.0]]
    assert preferred(rewards, signs, range(4)) == {"accuracy": 3.5 / 4, "margin": 1.5}
    assert np.isnan(preferred(rewards, signs, [0, 1])["accuracy"])
    assert preferred([[2.0, 1.0], [1.0, 1.0]], [[1.0, -1.0]] * 2, range(2)) == {"accuracy": 0.75, "margin": 0.5}


def stopping_at(step: int) -> Callable[..., Any]:
    """A loop that is told to stop when it comes to a step."""

    def stopping(work: Any, **given: Any) -> Any:
        state = given["state"]
        given["stop"] = lambda: state.step >= step
        return loop.train(work, **given)

    return stopping


@pytest.mark.parametrize("loss", ["dpo", "kto"])
def test_a_stopped_run_goes_on_exactly(loss: str, body: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = finetune(config(tmp_path / "straight", body, loss=loss), device="cpu")
    told = config(tmp_path / "stopped", body, loss=loss)
    monkeypatch.setattr(fit, "train", stopping_at(7))
    with pytest.raises(Stopped):
        finetune(told, device="cpu")
    monkeypatch.setattr(fit, "train", loop.train)
    noted = (told.out / FILE).read_bytes()
    finetune(told, resume=True, device="cpu")
    assert (told.out / FILE).read_bytes() == noted
    found, expected = (load_file(run / "model" / "model.safetensors") for run in (told.out, straight))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_another_model_is_no_reference(body: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = make_run(tmp_path / "own", kind="wordpiece", seed=1)
    told = config(tmp_path / "run", own)
    monkeypatch.setattr(fit, "train", stopping_at(3))
    with pytest.raises(Stopped):
        finetune(told, device="cpu")
    make_run(tmp_path / "own", kind="wordpiece", seed=2)
    with pytest.raises(ModelError, match=r"reference.safetensors was made by another model, or of other records"):
        finetune(told, resume=True, device="cpu")
    (told.out / FILE).write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be read .* delete it: what goes on makes it again"):
        finetune(told, resume=True, device="cpu")


def test_the_reference_is_asked_once_and_does_not_learn(body: Path, tmp_path: Path) -> None:
    run, teaching = begun(config(tmp_path, body))
    assert run.reference is not None
    side, before = teaching.sides["train"], {k: v.clone() for k, v in run.reference.state_dict().items()}
    alone = [float(log_likelihoods(run.reference, [one])[0].sum()) for one in side.parts[3]]
    assert side.known[3].tolist() == pytest.approx(alone, abs=1e-4)
    finetune(config(tmp_path / "learned", body, epochs=1), device="cpu")
    assert all(torch.equal(before[name], weight) for name, weight in run.reference.state_dict().items())


PROMPT = {"role": "user", "content": "quick"}


@pytest.mark.parametrize(
    ("record", "settings", "error", "message"),
    [
        ({"prompt": "a fox", "chosen": "dog", "rejected": " dog "}, {}, DataError, "line 2: field 'rejected'.*differs"),
        ({"prompt": "a", "chosen": "a", "rejected": " "}, {}, DataError, "line 2: field 'rejected': expected a text"),
        (
            {"prompt": "a", "chosen": [PROMPT], "rejected": "b"},
            {},
            DataError,
            "line 2: field 'chosen': expected a conversation that ends with an answer",
        ),
        (
            {"prompt": [PROMPT, PROMPT], "chosen": "a", "rejected": "b"},
            {},
            DataError,
            "line 2: field 'prompt': expected message 2 to be of assistant after user, got user",
        ),
        ({"prompt": "a", "chosen": "dog " * 9, "rejected": "dog " * 8}, {}, DataError, "line 2: expected answers that"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, {"objective": "unilm1"}, ModelError, "needs the likelihood"),
        (
            {"prompt": "a", "chosen": "b", "rejected": "c"},
            {"loss": "orpo", "label_smoothing": 0.1},
            UsageError,
            "label_smoothing is not for orpo",
        ),
        (
            {"prompt": "a", "chosen": "b", "rejected": "c"},
            {"class_weights": "balanced"},
            UsageError,
            "class_weights is not for dpo",
        ),
    ],
)
def test_what_is_wrong_is_named(
    record: dict[str, Any],
    settings: dict[str, Any],
    error: type[Exception],
    message: str,
    body: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises((error, UsageError), match=message):
        finetune(config(tmp_path, body, pairs(1)[0], record, **settings), device="cpu")
    assert not (tmp_path / "run").exists()


def test_dev_answers_of_one_kind_are_refused_before_anything_is_learned() -> None:
    def side(*kinds: bool) -> list[Example]:
        return [Example(str(i), ("a",), (PreferredAnswer("b", good),), "") for i, good in enumerate(kinds)]

    with pytest.raises(UsageError, match="--dev: expected good and bad answers, to compare them, got good ones alone"):
        check_both_kinds(side(True, True), "--dev")
    check_both_kinds(side(True, False), "--dev")
    check_both_kinds([], "--test")


def test_single_answers_are_for_kto(body: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"line 1: dpo compares two answers to a prompt.*--set loss=kto"):
        finetune(config(tmp_path, body, *single()), device="cpu")


def test_what_is_random_at_first_is_no_reference(body: Path, tmp_path: Path) -> None:
    for adapter in ("soft_prompt(tokens=3)", "prefix(tokens=3)"):
        with pytest.raises(UsageError, match=r"changes it before anything is learned: take --adapter lora"):
            finetune(config(tmp_path, body, adapter=adapter))
    assert not (tmp_path / "run").exists()


def test_a_model_of_another_way_is_refused_by_name(tmp_path: Path) -> None:
    body = make_run(tmp_path / "bang", BANG, kind="wordpiece")
    with pytest.raises(ModelError, match="taught bang does not give .*take --objective causal, prefix or seq2seq"):
        finetune(config(tmp_path, body), device="cpu")


def test_an_encoder_decoder_is_taught(tmp_path: Path) -> None:
    body = make_run(tmp_path / "body", SEQ2SEQ, kind="wordpiece", decoder=2)
    run = finetune(config(tmp_path, body, loss="kto"), device="cpu")
    assert RunFolder(run).manifest()["best"]["scores"]["accuracy"] > 0.9
    assert json.loads((run / "model" / "bothways.json").read_text())["objective"] == "seq2seq"


def test_conversations_are_taught_in_the_models_own_template(body: Path, tmp_path: Path) -> None:
    talk = [{"role": "system", "content": "small"}, PROMPT, {"role": "assistant", "content": "fox"}]
    ask = [*talk, {"role": "user", "content": "brown"}]
    answers = {name: [*ask, {"role": "assistant", "content": name}] for name in ("dog", "fox")}
    records = [{"chosen": answers["dog"], "rejected": answers["fox"]}] * 4
    run, teaching = begun(config(tmp_path, body, *records))
    (chosen, rejected), example = teaching.sides["train"].parts[0], run.data.train[0]
    assert example.texts == (said_in(ask),) and [one["role"] for one in example.messages] == [o["role"] for o in ask]
    assert run.tokenizer.decode(chosen.tokens).split() == "small quick fox brown dog".split()
    assert run.tokenizer.tokens(np.asarray(rejected.targets[0].labels)) == ["fox", "[SEP]"]


def test_settings_of_preferences_are_refused_elsewhere(body: Path, tmp_path: Path) -> None:
    for name, value, task in (("loss", "kto", "reward"), ("samples", 4, "prefer"), ("beta", 0.5, "reward")):
        with pytest.raises(UsageError, match=f"{name} is for .*, and does nothing for {task}"):
            set_up(config(tmp_path, body, **{"task": task, name: value}), ALONE, resume=False)


def test_the_reference_of_an_adapter_shares_its_base(body: Path, tmp_path: Path) -> None:
    run = set_up(config(tmp_path, body, adapter="lora(rank=2)"), ALONE, resume=False)
    assert run.reference
    own = {name for name, weight in run.model.named_parameters() if weight.requires_grad}
    known = dict(run.reference.named_parameters())
    for name, weight in run.model.named_parameters():
        assert (known[name] is weight) == (name not in own)
    assert not any(weight.requires_grad for weight in known.values())


def test_rewards_are_what_the_loss_compares(body: Path, tmp_path: Path) -> None:
    """By means of a token: five tokens at 0.2 nats are better than fifty at 0.03, whose sum is larger."""
    for normalised, expected in ((True, [0.2, 0.03]), (False, [1.0, 1.5])):
        folder = tmp_path / str(normalised)
        _, teaching = begun(config(folder, body, length_normalised=normalised))
        side: Any = SimpleNamespace(parts=[[None, None]])
        answers = Answers(
            torch.tensor([1.0, 1.5]), torch.tensor([5, 50]), torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]]), torch.ones(2)
        )
        assert teaching._rewards(side, answers) == [pytest.approx([teaching.beta * one for one in expected])]
