"""Tasks that write, taught beside others: each by its objective, asked by its name, and a run goes on exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import bothways
from bothways.errors import BothwaysError, ModelError, UsageError
from bothways.model import Abilities
from bothways.training.config import Budget, TrainingConfig
from bothways.training.finetuning import evaluate, finetune, finetune_multitask, predict
from bothways.training.finetuning.multitask import epoch_loop_of, how_taught
from bothways.training.finetuning.multitask_batches import multitask_batches
from bothways.training.finetuning.multitask_setup import set_up_multitask
from bothways.training.finetuning.run import batches_of, losses_of
from bothways.training.finetuning.setup import set_up
from bothways.training.finetuning.writing import WRITING_OBJECTIVES
from bothways.training.loop import LoopInputs, train
from bothways.training.run_folder import RunFolder
from tests.conftest import Once
from tests.inference.made import SEQ2SEQ, make_run
from tests.tasks.conftest import write
from tests.training.finetuning.together import one_task, several, stopped_at
from tests.training.small import ALONE

pytest.importorskip("rouge_score")
pytest.importorskip("sacrebleu")
transformers = pytest.importorskip("transformers")

TWO = {"first": {"objective": "causal"}, "second": {"objective": "prefix"}}
SOURCES = ["quick brown", "dog reading fox", "small model"]
METRICS = {"mood": "accuracy", "first": "rougeL", "second": "rougeL"}


def writers(folder: Path, **changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Two tasks that write, told apart by prefixes."""
    prefixes = {"first": "the first: ", "second": "the second: "}
    return [
        one_task(folder, name, target_length=6, prefix=prefixes[name], **{**TWO[name], **changes.get(name, {})})
        for name in TWO
    ]


@pytest.fixture(scope="session")
def mixed(once: Once, body: Path) -> Path:
    """A run of a label, and of two tasks that write the one and the other word of a text, by two objectives."""

    def make(folder: Path) -> Path:
        tasks = [one_task(folder, "mood"), *writers(folder)]
        tasks[2]["test"] = tasks[2]["train"]
        return finetune_multitask(several(folder, body, *tasks, epochs=12, dev_generated=16))

    return once("mixed", make)


def test_all_are_learned_and_each_is_measured_by_its_name(mixed: Path) -> None:
    found = evaluate(mixed, device="cpu")
    assert {*found["tasks"]} == {*METRICS} and found["left_out"] == []
    own = {name: found["tasks"][name][metric] for name, metric in METRICS.items()}
    assert own["mood"] > 0.9 and own["first"] > 0.7 and own["second"] > 0.7
    assert "shuffled_source" in evaluate(mixed, mixed.parent / "first.jsonl", task="first", device="cpu")


def test_each_writes_when_its_name_is_said(mixed: Path, tmp_path: Path) -> None:
    model = bothways.load(mixed, device="cpu")
    first, second = (model.generate(SOURCES, head=name) for name in TWO)
    assert [one.text for one in first] != [one.text for one in second]
    assert model.summarise(SOURCES) == second and model.summarise(SOURCES, head="second", num_beams=2) is not None
    assert "".join(model.stream(SOURCES[0], head="first")) == first[0].text
    assert model.classify("a lovely film 3").label == "good"
    with pytest.raises(ModelError, match="writes for several tasks: name one .--task, in Python head., first, second"):
        model.generate(SOURCES)
    with pytest.raises(ModelError, match="not fine-tuned to write as 'mood'; the tasks that it writes for: first, sec"):
        model.generate(SOURCES, head="mood")
    asked = write(tmp_path / "in.jsonl", *({"source": source} for source in SOURCES))
    for name, texts in {"first": first, "second": second}.items():
        assert [one["target"] for one in predict(mixed, asked, task=name, device="cpu")] == [one.text for one in texts]
    assert [one["text"] for one in model.predict("text2text", SOURCES, head="first")] == [one.text for one in first]
    both = predict(mixed, asked, task="second", num_beams=2, num_return_sequences=2, device="cpu")
    assert all(len(one["others"]) == 1 for one in both)


def test_a_folder_says_it_elsewhere(mixed: Path, tmp_path: Path) -> None:
    """Written back: the same texts; transformers loads the body."""
    model = bothways.load(mixed, device="cpu")
    (folder,) = model.save(tmp_path)
    again = bothways.load(folder, device="cpu")
    assert again.engine.abilities == model.engine.abilities
    for name in TWO:
        assert again.generate(SOURCES, head=name) == model.generate(SOURCES, head=name)
    told = Abilities.from_json(json.loads((folder / "bothways.json").read_text()))
    written = {name: head.writes for name, head in told.writers.items() if head.writes}
    assert {name: (one.objective, dict(one.decoding)) for name, one in written.items()} == {
        "first": ("causal", {"decoder": 0}),
        "second": ("prefix", {"prefix": 0}),
    }
    assert written["first"].prefix == tuple(model.tokenizer.encode("the first: "))
    theirs = transformers.AutoModel.from_pretrained(folder)
    assert torch.equal(theirs.state_dict()["embed_tokens.weight"], model.engine.model.table)
    card = (mixed / "model" / "README.md").read_text()
    assert "- first (text2text): a text of up to 6 tokens, as the objective causal teaches" in card
    assert 'model.generate(inputs, head="second")' in card


def test_what_is_noted_and_shown_of_each(mixed: Path) -> None:
    manifest = RunFolder(mixed).manifest()
    first, second = (manifest["tasks"][name] for name in TWO)
    assert first["objective"] == {"name": "causal", "why": "asked for"}
    assert second["shuffled_source"]["low"] > 0 and not second["shuffled_source"]["ignored"]
    assert second["test"]["rougeL"] == pytest.approx(evaluate(mixed)["tasks"]["second"]["rougeL"])
    look = next(line for line in RunFolder(mixed).lines() if line["kind"] == "validation")
    assert {*look["tasks"]} == {*METRICS} and all(one["loss"] > 0 for one in look["tasks"].values())
    html = (mixed / "report.html").read_text()
    assert html.count(" of the rows are of this task.") == 3 and "<h2>second: the worst</h2>" in html


@pytest.mark.parametrize("way", [*WRITING_OBJECTIVES])
def test_every_objective_is_taught_beside_labels_and_tags(way: str, body: Path, tmp_path: Path) -> None:
    first = one_task(tmp_path, "first", objective=way, target_length=6)
    run = finetune_multitask(several(tmp_path, body, first, "mood", "names", epochs=3))
    lines = [line for line in RunFolder(run).lines() if line["kind"] == "validation"]
    assert all(lines[-1]["tasks"][name]["loss"] < lines[0]["tasks"][name]["loss"] for name in ("first", "mood"))
    before = bothways.load(run, device="cpu")
    again = bothways.load(before.save(tmp_path / "again")[0], device="cpu")
    assert again.generate(SOURCES, head="first") == before.generate(SOURCES) == again.generate(SOURCES)
    assert again.tag("The quick Mr Fox jumps").tags == before.tag("The quick Mr Fox jumps").tags
    asked = write(tmp_path / "in.jsonl", *({"source": source} for source in SOURCES))
    assert [one["target"] for one in predict(run, asked, task="first")] == [
        one.text for one in before.generate(SOURCES)
    ]


@pytest.mark.parametrize("classic", [False, True])
def test_an_encoder_decoder_writes_beside_labels_of_its_encoder(classic: bool, tmp_path: Path) -> None:
    begun = make_run(tmp_path / "body", SEQ2SEQ, kind="wordpiece", classic=classic, decoder=2)
    run = finetune_multitask(several(tmp_path, begun, one_task(tmp_path, "first", target_length=6), "mood", epochs=8))
    found = evaluate(run, device="cpu")["tasks"]
    assert (
        found["mood"]["accuracy"] > 0.8
        and RunFolder(run).manifest()["tasks"]["first"]["objective"]["name"] == "seq2seq"
    )
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(run / "model")
    assert theirs.config.is_encoder_decoder
    assert len(bothways.load(run, device="cpu").generate(SOURCES)) == 3


def test_one_task_that_writes_is_a_run_as_alone(body: Path, tmp_path: Path) -> None:
    run = finetune_multitask(several(tmp_path, body, one_task(tmp_path, "first", target_length=6), epochs=1))
    model = bothways.load(run, device="cpu")
    assert model.engine.abilities.faces == ("decoder",) and len(model.generate(SOURCES)) == 3
    values = json.loads((run / "model" / "config.json").read_text())
    assert values["architectures"] == ["LlamaForCausalLM"]


@pytest.mark.parametrize("way", [*WRITING_OBJECTIVES])
def test_a_task_loses_what_a_run_of_it_alone_does(way: str, tmp_path: Path, body: Path) -> None:
    """The mean over the same draws, whatever an example weighs beside those of other tasks."""
    first = one_task(tmp_path, "first", objective=way, target_length=6)
    run = set_up_multitask(several(tmp_path, body, first, dropout=0.0, batch=200), ALONE, resume=False)
    loop = epoch_loop_of(run)
    (batch,) = loop.batches(0, 0.0)
    loss, count = loop.losses(batch, torch.Generator())["first"]
    alone = set_up(
        run.config.of(run.config.tasks[0]).model_copy(update={"out": tmp_path / "alone"}), ALONE, resume=False
    )
    ((other, others),) = losses_of(alone.model, alone.state)(*batches_of(alone)(0, 0.0), torch.Generator()).values()
    assert float((loss / count).detach()) == pytest.approx(float((other / others).detach()), rel=1e-3)


def test_an_example_of_each_task_weighs_the_same_on_average(tmp_path: Path, body: Path) -> None:
    tasks = [
        one_task(tmp_path, "first", objective="unilm1", target_length=6),
        one_task(tmp_path, "second", objective="diffusion", target_length=12),
    ]
    run = set_up_multitask(several(tmp_path, body, "mood", *tasks, epochs=8), ALONE, resume=False)
    of_step, sums, counts = multitask_batches(run), dict.fromkeys(run.parts, 0.0), dict.fromkeys(run.parts, 0)
    for step in range(8 * run.mixing.steps):
        for task, *_ in run.mixing.of_step(step):
            counts[[*run.parts][task]] += 1
        for batch in of_step(step, 0.0):
            for target in batch.targets:
                sums[target.name] += float(torch.as_tensor(target.weight).sum())
    assert sums["mood"] / counts["mood"] == pytest.approx(1, abs=0.01)
    assert sums["first"] / counts["first"] == pytest.approx(1, abs=0.05)
    assert sums["second"] / counts["second"] == pytest.approx(1, abs=0.2)


def test_an_example_that_comes_again_is_drawn_anew(tmp_path: Path, body: Path) -> None:
    first = one_task(tmp_path, "first", objective="unilm1", target_length=6)
    run = set_up_multitask(several(tmp_path, body, first), ALONE, resume=False)
    part = run.parts["first"]
    draws = {part.drawn(turn, 0, 0.0)[0].tokens.tobytes() for turn in range(12)}
    assert len(draws) > 1
    assert part.drawn(3, 0, 0.0)[0].tokens.tobytes() == part.drawn(3, 0, 0.0)[0].tokens.tobytes()


def test_a_stop_at_any_step_changes_nothing(tmp_path: Path, body: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(folder: Path) -> Any:
        tasks = writers(folder, second={"objective": "unilm1"})
        return several(folder, body, one_task(folder, "mood"), *tasks, batch=16, dev_generated=4)

    whole, parts = finetune_multitask(told(tmp_path / "whole")), told(tmp_path / "parts")
    stopped_at(2, parts, monkeypatch)
    stopped_at(11, parts, monkeypatch, resume=True)
    finetune_multitask(parts, resume=True)
    for file in ("model.safetensors", "head.safetensors"):
        one, other = (load_file(run / "model" / file) for run in (whole, parts.out))
        assert one.keys() == other.keys() and all(torch.equal(other[name], weight) for name, weight in one.items())
    kept = ("kind", "step", "loss", "tokens", "flops", "scores")
    found = [[[line.get(key) for key in kept] for line in RunFolder(run).lines()] for run in (whole, parts.out)]
    assert found[0] == found[1]


def test_a_step_without_texts_to_write_leaves_a_decoder_as_it_is(tmp_path: Path) -> None:
    """And what predicts words, to the last bit, though the optimiser decays and remembers."""
    begun = make_run(tmp_path / "body", SEQ2SEQ, kind="wordpiece", decoder=1)
    tasks = ("mood", "stars", one_task(tmp_path, "first", target_length=6))
    run = set_up_multitask(several(tmp_path, begun, *tasks, batch=2, weight_decay=0.1, epochs=1), ALONE, resume=False)
    loop = epoch_loop_of(run)
    work = LoopInputs(loop.losses, loop.batches, loop.names)
    own = [name for name in run.state.weights.master if name.startswith("decoder.") and name.endswith("down.weight")]
    before = {name: run.state.weights.master[name].clone() for name in own}
    seen = set()
    for report in train(work, state=run.state, config=TrainingConfig(budget=Budget(steps=60)), total=60):
        after = {name: run.state.weights.master[name].clone() for name in own}
        if report.step > 1:  # the first step of a warm-up may be of no size
            written = list(run.parts).index("first") in {task for task, _, _ in run.mixing.of_step(report.step - 1)}
            seen.add(written)
            assert all(torch.equal(before[name], after[name]) != written for name in own)
        before = after
        if report.step > 20:
            break
    assert own and seen == {True, False}


def test_a_prefix_stands_before_every_source_of_one_task_too(tmp_path: Path, body: Path) -> None:
    task = one_task(tmp_path, "first", objective="prefix", prefix="the first: ", target_length=6)
    told = several(tmp_path, body, task, epochs=1)
    alone = finetune(told.of(told.tasks[0]).model_copy(update={"out": tmp_path / "alone"}))
    model = bothways.load(alone, device="cpu")
    assert model.engine.writes is not None and model.engine.writes.opening[1:] == tuple(
        model.tokenizer.encode("the first: ")
    )
    asked = write(tmp_path / "in.jsonl", *({"source": source} for source in SOURCES))
    assert [one["target"] for one in predict(alone, asked)] == [one.text for one in model.generate(SOURCES)]


def test_what_tells_two_tasks_apart_is_said(tmp_path: Path, body: Path) -> None:
    tasks = [one_task(tmp_path, name, objective="prefix", target_length=6) for name in TWO]
    run = set_up_multitask(several(tmp_path, body, *tasks), ALONE, resume=False)
    assert [*how_taught(run)] == [
        "first: taught by prefix: asked for",
        "second: taught by prefix: asked for",
        "second and first have the same objective and prefix: give each a prefix, as 'summarise: '",
    ]


@pytest.mark.parametrize(
    ("second", "more", "said"),
    [
        (
            {"objective": "seq2seq"},
            {},
            "first is taught by causal, second by seq2seq: an encoder-decoder writes",
        ),
        ({"objective": "bang"}, {}, "first is taught by causal, second by bang: a model reads under one rule"),
        ({"label_smoothing": 0.1}, {}, "first has label_smoothing 0, second 0.1: tasks that write share the head"),
        ({"objective": "mlm"}, {}, "second: unknown objective that writes 'mlm'"),
        ({}, {"encoder_rate": 0.5}, "encoder_rate is for encoder-decoders"),
        ({}, {"reads": "decoder"}, "reads is for tasks that predict labels"),
    ],
)
def test_what_is_refused_before_anything_is_made(
    second: dict[str, Any], more: dict[str, Any], said: str, tmp_path: Path, body: Path
) -> None:
    told = several(tmp_path, body, *writers(tmp_path, second=second), **more)
    with pytest.raises(BothwaysError, match=said):
        finetune_multitask(told)
    assert not told.out.exists()


def test_a_task_that_writes_has_no_teacher_but_may_stand_beside_one(mixed: Path, tmp_path: Path, body: Path) -> None:
    first = one_task(tmp_path, "first", objective="causal", target_length=6)
    told = several(tmp_path, body, first, epochs=1)
    alone = finetune(told.of(told.tasks[0]).model_copy(update={"out": tmp_path / "alone"}))
    with pytest.raises(UsageError, match="first: text2text has no soft labels .* write the targets of the training"):
        finetune_multitask(several(tmp_path / "taught", body, first | {"teacher": str(alone)}, "mood"))
    run = finetune_multitask(several(tmp_path / "beside", body, first | {"compare": str(alone)}, "mood", epochs=1))
    beside = RunFolder(run).manifest()["tasks"]["first"]["beside"]
    assert beside["scores"]["rougeL"] >= 0 and len(beside["better_by"]["rougeL"]) == 2
    again = several(
        tmp_path / "again", mixed, one_task(tmp_path / "again", "second", target_length=6), "mood", epochs=1
    )
    finetune_multitask(again)  # a model of several tasks is gone on from
    assert RunFolder(again.out).manifest()["tasks"]["second"]["objective"]["name"] == "causal"
