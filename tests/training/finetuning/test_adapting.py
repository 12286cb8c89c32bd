"""Fine-tuning adapters: they learn, the rest stays, a run goes on exactly, and what is saved opens on its base."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import bothways
from bothways.errors import ModelError, Stopped, UsageError
from bothways.training import fit
from bothways.training.finetuning import (
    FinetuneConfig,
    MultiTaskConfig,
    evaluate,
    finetune,
    finetune_multitask,
    predict,
)
from bothways.training.finetuning.setup import set_up
from bothways.training.run_folder import RunFolder
from bothways.training.state import checkpoints
from tests.inference.made import SEQ2SEQ, make_run
from tests.tasks.conftest import config, reviews, tagged, write
from tests.training.small import ALONE

ADAPTERS = ("lora(rank=4)", "soft_prompt(tokens=4)", "norms")


def adapted(folder: Path, body: Path, adapter: str, **changes: Any) -> FinetuneConfig:
    return config(folder, body, adapter=adapter, **{"epochs": 6, "learning_rate": 1e-2, **changes})


@pytest.fixture(scope="module")
def runs(body: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A classifier of each adapter on one body."""
    folder = tmp_path_factory.mktemp("adapted")
    return {name: finetune(adapted(folder / name.partition("(")[0], body, name)) for name in ADAPTERS}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_classifier_learns(adapter: str, runs: dict[str, Path], tmp_path: Path) -> None:
    run = runs[adapter]
    manifest = RunFolder(run).manifest()
    assert manifest["status"] == "done" and not (run / "model").exists()
    test = write(tmp_path / "test.jsonl", *reviews(3))
    assert evaluate(run, test)["accuracy"] == 1.0
    predict(run, test, tmp_path / "answers.jsonl")
    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    model = bothways.load(run, device="cpu")
    found = model.classify([one["text"] for one in reviews(3)])
    for one, other in zip(found, answers, strict=True):
        assert one.label == other["label"] and one.probabilities == pytest.approx(
            other["probabilities"], abs=0.02
        )  # in bf16, where the processor has it
    told = manifest["adapter"]
    assert told["expression"] == adapter and told["parameters"] < 0.1 * told["of"]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_checkpoints_hold_what_learns_alone(adapter: str, runs: dict[str, Path]) -> None:
    told = RunFolder(runs[adapter]).manifest()["adapter"]
    learns = told["parameters"] + told["new_head_parameters"]
    for checkpoint in checkpoints(runs[adapter] / "checkpoints"):
        assert sum(one.numel() for one in load_file(checkpoint / "weights.safetensors").values()) == learns
        assert (checkpoint / "optimiser.safetensors").stat().st_size < 8 * learns + 20_000
    size = (runs[adapter] / "adapter" / "adapter_model.safetensors").stat().st_size
    assert size < 5 * learns + 20_000


def test_frozen_weights_stay_and_what_learns_is_all_there_is(body: Path, tmp_path: Path) -> None:
    run = set_up(adapted(tmp_path, body, "lora(rank=2, dropout=0.1)"), ALONE, resume=False)
    before = {name: _hash(weight) for name, weight in run.model.named_parameters() if not weight.requires_grad}
    assert run.state.weights.frozen.keys() == before.keys()
    assert run.state.weights.gradient.numel() == sum(map(torch.Tensor.numel, run.state.weights.master.values()))
    done = finetune(adapted(tmp_path / "again", body, "lora(rank=2, dropout=0.1)", epochs=1))
    frozen = json.loads((checkpoints(done / "checkpoints")[-1] / "state.json").read_text())["frozen"]
    assert frozen == before


def _hash(weight: torch.Tensor) -> str:
    return hashlib.sha256(weight.detach().numpy().tobytes()).hexdigest()


@pytest.mark.parametrize("adapter", ["lora(rank=2, dropout=0.1)", "soft_prompt(tokens=3)"])
def test_a_run_goes_on_exactly(adapter: str, body: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = finetune(adapted(tmp_path / "straight", body, adapter, epochs=2))
    stopped = adapted(tmp_path / "stopped", body, adapter, epochs=2)
    own = fit.train

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        return own(*args, **kwargs, stop=lambda: kwargs["state"].step >= 4)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(fit, "train", interrupted)
        finetune(stopped)
    finetune(stopped, resume=True)
    one, other = (load_file(run / "adapter" / "adapter_model.safetensors") for run in (straight, stopped.out))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_several_adapters_on_one_body(body: Path, runs: dict[str, Path]) -> None:
    names = {name.partition("(")[0]: run for name, run in runs.items()}
    model = bothways.load(body, device="cpu", adapters=names)
    texts, before = ["a lovely film", "so bad, all of it"], model.embed("a lovely film")
    for name, run in names.items():
        alone = bothways.load(run, device="cpu").classify(texts)
        for one, other in zip(model.with_adapter(name).classify(texts), alone, strict=True):
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert (model.embed("a lovely film") == before).all()
    assert model.with_adapter("lora").engine.model.table is model.engine.model.table
    with pytest.raises(UsageError, match=r"unknown adapter 'lore'. Did you mean 'lora'\?"):
        model.with_adapter("lore")
    with pytest.raises(UsageError, match="this model was loaded without any"):
        bothways.load(body, device="cpu").with_adapter("lora")


def test_a_merged_model_is_saved_whole(runs: dict[str, Path], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    texts = ["a lovely film", "so bad, all of it"]
    model = bothways.load(runs["lora(rank=4)"], device="cpu")
    (folder,) = model.merge().save(tmp_path / "whole")
    expected = [one.probabilities for one in model.classify(texts)]
    again = [one.probabilities for one in bothways.load(folder, device="cpu").classify(texts)]
    pipeline = transformers.pipeline("text-classification", model=str(folder), top_k=None)
    theirs = [{one["label"]: one["score"] for one in found} for found in pipeline(texts)]
    for one, other, third in zip(expected, again, theirs, strict=True):
        assert one == pytest.approx(other, abs=1e-5) and one == pytest.approx(third, abs=1e-5)
    with pytest.raises(ModelError, match="a soft prompt is added to what the model reads"):
        bothways.load(runs["soft_prompt(tokens=4)"], device="cpu").merge()


@pytest.mark.parametrize("adapter", ["lora(rank=4)", "soft_prompt(tokens=3)", "prefix(tokens=3)"])
def test_a_decoder_learns_to_write(adapter: str, body: Path, tmp_path: Path) -> None:
    """And what it writes with a cache is what it was taught without one."""
    pairs = [
        {"source": f"say {word} {n}", "target": f"{word} {word}"} for n in range(8) for word in ("dog", "fox", "cat")
    ]
    file = write(tmp_path / "pairs.jsonl", *pairs)
    told = adapted(tmp_path / "run", body, adapter, task="text2text", objective="causal", train=file, dev=file)
    run = finetune(told.model_copy(update={"epochs": 20, "batch": 6, "target_length": 6, "learning_rate": 2e-2}))
    losses = [line["loss"] for line in RunFolder(run).lines() if line["kind"] == "validation"]
    assert losses[-1] < 0.5 * losses[0]
    model = bothways.load(run, device="cpu")
    sources = [one["source"] for one in pairs[:5]]
    together = model.generate(sources)
    assert [model.generate(one).text for one in sources] == [one.text for one in together]
    assert [one["target"] for one in predict(run, file)][:5] == [
        one.text for one in together
    ]  # by the rows of training
    beside = bothways.load(body, device="cpu", adapters={"mine": run})
    mixed = beside.generate(sources[:3], adapter=["mine", None, "mine"], seed=1, max_new_tokens=6, temperature=0)
    assert [mixed[0].text, mixed[2].text] == [together[0].text, together[2].text]
    assert mixed[1].text == beside.generate(sources[1], seed=1, max_new_tokens=6, temperature=0).text
    assert "".join(beside.stream(sources[0], adapter="mine")) == together[0].text
    with pytest.raises(UsageError, match="expected an adapter, or None, for each of 2 prompts, got 1"):
        beside.generate(sources[:2], adapter=["mine"])


@pytest.mark.parametrize("adapter", ["lora(rank=4, on=[q, v, down])", "soft_prompt(tokens=3)"])
def test_an_encoder_decoder_learns_to_write(adapter: str, tmp_path: Path) -> None:
    """Its cross-attention has low-rank products, too."""
    body = make_run(tmp_path / "body", SEQ2SEQ, kind="wordpiece", decoder=2, seed=1)
    file = write(tmp_path / "pairs.jsonl", *({"source": f"say {n}", "target": "dog"} for n in range(24)))
    told = adapted(tmp_path / "run", body, adapter, task="text2text", objective="seq2seq", train=file, dev=file)
    run = finetune(told.model_copy(update={"target_length": 6, "batch": 6, "learning_rate": 2e-2}))
    losses = [line["loss"] for line in RunFolder(run).lines() if line["kind"] == "validation"]
    assert losses[-1] < 0.8 * losses[0]
    weights = load_file(run / "adapter" / "adapter_model.safetensors")
    assert any("cross_attn.v_proj.lora_B" in name for name in weights) == adapter.startswith("lora")
    model = bothways.load(run, device="cpu")
    assert model.generate(["say 3", "say 7"])[1].text == model.generate("say 7").text
    if adapter.startswith("lora"):
        assert [one.text for one in model.generate(["say 3", "say 7"])] == ["dog", "dog"]
        model.merge().save(tmp_path / "whole")
        again = bothways.load(tmp_path / "whole", device="cpu").generate(["say 3", "say 7"])
        assert [one.text for one in again] == ["dog", "dog"]


def test_a_decoder_with_a_prefix_tells_labels_apart(body: Path, tmp_path: Path) -> None:
    told = adapted(tmp_path, body, "prefix(tokens=4, hidden=32)", reads="decoder", epochs=12, learning_rate=1e-2)
    run = finetune(told)
    assert RunFolder(run).manifest()["best"]["scores"]["accuracy"] == 1.0
    weights = load_file(run / "adapter" / "adapter_model.safetensors")
    shape = bothways.load(run, device="cpu").engine.model.config
    numbers = shape.layers * 2 * shape.key_heads * shape.head_width
    assert {name: list(one.shape) for name, one in weights.items()} == {"backbone.prefix.embeddings": [4, numbers]}


def test_a_tagger_learns(body: Path, tmp_path: Path) -> None:
    told = adapted(tmp_path, body, "lora(rank=4)", task="tag", epochs=20)
    assert evaluate(finetune(told), write(tmp_path / "test.jsonl", *tagged(6)))["f1"] > 0.8


def test_several_tasks_share_an_adapter(body: Path, tmp_path: Path) -> None:
    """With a head each; what one predicts with the run open is what it predicts on the base."""
    files = {"mood": write(tmp_path / "mood.jsonl", *reviews()), "names": write(tmp_path / "names.jsonl", *tagged())}
    tasks = [
        {"name": "mood", "task": "classify", "train": files["mood"], "dev": files["mood"]},
        {"name": "names", "task": "tag", "train": files["names"], "dev": files["names"]},
    ]
    told = {"model": str(body), "tasks": tasks, "out": tmp_path / "run", "precision": "fp32", "epochs": 15, "batch": 8}
    run = finetune_multitask(MultiTaskConfig(**told, adapter="lora(rank=4)", learning_rate=1e-2))
    manifest = RunFolder(run).manifest()
    assert manifest["best"]["scores"]["mean"] > 0.8 and "lora(rank=4)" in (run / "report.html").read_text()
    texts = ["a lovely film", "so bad, all of it"]
    alone, beside = bothways.load(run, device="cpu"), bothways.load(body, device="cpu", adapters={"both": run})
    for one, other in zip(alone.classify(texts), beside.with_adapter("both").classify(texts), strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    (folder,) = alone.merge().save(tmp_path / "whole")
    merged = bothways.load(folder, device="cpu")
    assert merged.tag("The quick Mr Fox jumps").entities == alone.tag("The quick Mr Fox jumps").entities


@pytest.mark.parametrize(
    ("adapter", "changes", "said"),
    [
        ("lora(rank=0)", {}, "lora.rank"),
        ("bias", {}, "this model has no biases: take norms"),
        ("prefix", {}, "reads from all sides: take soft_prompt"),
        ("lora", {"layer_decay": 0.5}, "layer_decay is for fine-tuning a whole model"),
        ("lora", {"task": "text2text", "objective": "seq2seq"}, "has no decoder, so that most of an encoder-decoder"),
    ],
)
def test_what_does_not_serve_is_refused(
    adapter: str, changes: dict[str, Any], said: str, body: Path, tmp_path: Path
) -> None:
    if "task" in changes:
        changes = changes | {"train": write(tmp_path / "pairs.jsonl", *([{"source": "a b c", "target": "d"}] * 9))}
        changes |= {"dev": changes["train"]}
    with pytest.raises(UsageError) as refused:
        finetune(adapted(tmp_path, body, adapter, **changes))
    assert said in str(refused.value) and not (tmp_path / "run").exists()


def test_an_adapter_is_no_whole_model(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds an adapter, not a whole model.*merge it first, bothways merge"):
        finetune(config(tmp_path, runs["norms"]))


def test_a_base_that_has_changed_is_refused(runs: dict[str, Path], body: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    for file in (runs["norms"] / "adapter").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    told = json.loads((folder / "bothways.json").read_text())
    told["adapter"]["sha256"] = "0" * 64
    (folder / "bothways.json").write_text(json.dumps(told))
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ModelError, match=r"the adapter 'mine' \(.*\) belongs to another base: to .*SHA-256 0000"):
        bothways.load(body, device="cpu", adapters={"mine": folder})
    told["adapter"]["base"] = str(tmp_path / "nowhere")
    (folder / "bothways.json").write_text(json.dumps(told))
    with pytest.raises(ModelError, match=r"is an adapter of .*nowhere, which is not there. Open its base"):
        bothways.load(folder, device="cpu")


def test_an_adapter_is_not_put_on_a_base_that_has_one(runs: dict[str, Path]) -> None:
    for base, other in (("lora(rank=4)", "soft_prompt(tokens=4)"), ("soft_prompt(tokens=4)", "lora(rank=4)")):
        with pytest.raises(ModelError, match="the adapter 'x' .* expected a base without an adapter"):
            bothways.load(runs[base], adapters={"x": runs[other]})


@pytest.mark.parametrize("given", [["runs/x"], {"x": 3}, {1: "runs/x"}], ids=str)
def test_adapters_are_folders_by_their_names(given: Any, body: Path) -> None:
    with pytest.raises(UsageError, match=r"adapters: expected \{name: folder\}"):
        bothways.load(body, adapters=given)
