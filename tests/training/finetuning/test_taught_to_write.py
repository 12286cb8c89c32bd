"""How models are taught to write: by which objective, from which models, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import bothways
from bothways.errors import BothwaysError, DataError, ModelError, UsageError
from bothways.model import Abilities
from bothways.training.finetuning import finetune, predict
from bothways.training.finetuning.batches import batches_of
from bothways.training.finetuning.setup import set_up
from bothways.training.finetuning.writing import fitting
from bothways.training.run_folder import RunFolder
from tests.inference import made
from tests.inference.made import make_run
from tests.model.huggingface.test_published_answers import published
from tests.tasks.conftest import write
from tests.training.finetuning.test_writing import SOURCES, config, pairs
from tests.training.small import ALONE

pytest.importorskip("rouge_score")
pytest.importorskip("sacrebleu")
transformers = pytest.importorskip("transformers")

HEADS = {
    "Llama": "CausalLM",
    "Qwen3": "CausalLM",
    "Bert": "MaskedLM",
    "DistilBert": "MaskedLM",
    "Electra": "PreTraining",
}


@pytest.mark.parametrize(
    ("trained", "name", "why"),
    [
        (made.HYBRID, "causal", "pretrained with hybrid, the model predicts the next word"),
        (made.CAUSAL, "causal", "predicts the next word"),
        (made.MLM, "unilm1", "predicts hidden words in their place"),
        (made.PREFIX, "prefix", "after a source read from all sides"),
        (made.UNILM1, "unilm1", "a hidden word of a target after its source"),
        (made.UNILM2, "unilm2", "at pseudo masks"),
        (made.MASS, "mass", "writes what is missing"),
        (made.BANG, "bang", "several words in a pass"),
        (made.DIFFUSION, "unilm1", "hidden words in their place"),
        (made.BLOCKS, "diffusion", "any number of hidden words"),
        (made.ANY_ORDER, "diffusion", "in any order"),
        (made.ELMO, "causal", "reads both directions"),
        (Abilities("", ("decoder",), None), "causal", "the published model predicts the next word"),
        (Abilities("", ("encoder",), None, {"detect": 0}), "prefix", "the published model predicts no words"),
    ],
)
def test_the_objective_that_fits(trained: Abilities, name: str, why: str) -> None:
    found, told = fitting(trained)
    assert found == name and why in told


def test_what_is_taught_and_why_is_said(body: Path, tmp_path: Path) -> None:
    said: list[str] = []
    run = finetune(config(tmp_path, body, task="summarise", epochs=1), device="cpu", say=said.append)
    assert "taught by causal: pretrained with hybrid, the model predicts the next word" in said
    again = config(tmp_path / "again", run, task="summarise", epochs=1)
    finetune(again, device="cpu", say=said.append)
    assert said[-2] == "taught by causal: the model was taught to write with causal"


@pytest.mark.parametrize("kind", HEADS)
def test_published_models_are_taught(kind: str, tmp_path: Path) -> None:
    settings = {"head_dim": 16, "num_key_value_heads": 4} if kind == "Qwen3" else {}
    folder = published(tmp_path / kind, kind, HEADS[kind], **settings)
    run = finetune(config(tmp_path / "run", folder, epochs=1), device="cpu")
    before = bothways.load(run, device="cpu").generate(SOURCES)
    told = json.loads((run / "model" / "bothways.json").read_text())
    fits = {"CausalLM": "causal", "MaskedLM": "unilm1(rate=0.7)", "PreTraining": "prefix"}
    assert told["objective"] == fits[HEADS[kind]]
    model = bothways.load(bothways.load(run, device="cpu").save(tmp_path / "again")[0], device="cpu")
    assert model.generate(SOURCES) == before


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"objective": "mlm"}, UsageError, "unknown objective that writes 'mlm'.*causal"),
        ({"objective": "unilm1(rate=0.5) + causal"}, UsageError, "expected one of causal, .*, got several"),
        ({"objective": "unilm1(rat=1)"}, UsageError, "unknown argument of unilm1 'rat'"),
        ({"target_length": 60}, UsageError, "target_length 60 leaves 2 of the 64 tokens .* expected 4 or more"),
        ({"target_length": 2}, DataError, "expected a target of 1 to 1 tokens, got 2. .*target_length=TOKENS"),
        ({"length": 80}, UsageError, r"length 80 is more than the model reads \(64\)"),
        ({"generation": {"beams": 3}}, UsageError, "unknown option of generating 'beams'"),
        ({"generation": {"num_beams": 0}}, UsageError, "num_beams"),
        ({"reads": "decoder"}, UsageError, "reads is for tasks that predict labels"),
        ({"columns": {"target": "summary"}}, UsageError, "expected a column 'summary' for target"),
        (
            {"task": "classify", "columns": {"text": "source", "label": "target"}, "objective": "causal"},
            UsageError,
            "objective is for tasks that write",
        ),
        (
            {"task": "classify", "columns": {"text": "source", "label": "target"}, "target_length": 9},
            UsageError,
            "target_length is for tasks that write",
        ),
    ],
)
def test_settings_that_cannot_be(
    changes: dict[str, Any], error: type[BothwaysError], message: str, body: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        finetune(config(tmp_path, body, **{"target_length": None, **changes}), device="cpu")
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_model_that_cannot_be_taught_is_refused_by_name(tmp_path: Path) -> None:
    folder = published(tmp_path / "distilbert", "DistilBert", "MaskedLM")
    with pytest.raises(ModelError, match="distilbert cannot be taught causal: .* Take --objective prefix"):
        finetune(config(tmp_path / "run", folder, objective="causal"), device="cpu")


def test_targets_that_are_too_long_are_left_out_where_it_is_asked_for(body: Path, tmp_path: Path) -> None:
    records = [*pairs(), {"source": "dog", "target": "the lazy dog " * 9}, {"source": "dog", "target": " "}]
    train = write(tmp_path / "long.jsonl", *records)
    run = set_up(config(tmp_path, body, train=train, skip_bad=True), ALONE, resume=False)
    assert len(run.data.train) == 48
    found = RunFolder(run.config.out).manifest()["skipped"]
    assert len(found) == 2 and any("expected a target of 1 to 5 tokens" in line for line in found)


def test_options_of_generating_are_for_models_that_write(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="num_beams: options of generating are for models that write"):
        predict(classifier, write(tmp_path / "a.jsonl", {"text": "a"}), device="cpu", num_beams=2)


def test_segments_are_those_that_the_model_has(tmp_path: Path) -> None:
    for segments, way in ((6, "append-mask"), (2, "pseudo-mask")):
        body = make_run(tmp_path / f"{segments}", made.UNILM1, kind="wordpiece", classic=True, segments=segments)
        run = set_up(config(tmp_path / f"run-{segments}", body), ALONE, resume=False)
        assert way in run.trained.decoding
        ((sample,),) = [run.drawn(0, 0, 0.0)]
        assert (sample.layout.segment is not None) == (segments == 6)


def test_the_dev_examples_that_are_written_are_so_many(body: Path, tmp_path: Path) -> None:
    run = set_up(config(tmp_path, body, dev_generated=5), ALONE, resume=False)
    assert len(run.dev) == 5 and len(run.data.dev) == 48
    assert [example.id for example, _ in run.dev] == [0, 9, 19, 28, 38]


def test_each_epoch_hides_other_words(body: Path, tmp_path: Path) -> None:
    run = set_up(config(tmp_path, body, objective="unilm1"), ALONE, resume=False)
    one, same, other = (run.drawn(epoch, 0, 0.0)[0].tokens.tolist() for epoch in (0, 0, 1))
    drawn = [[run.drawn(epoch, number, 0.0)[0].tokens.tolist() for number in range(20)] for epoch in (0, 1)]
    assert one == same and len(other) == len(one) and drawn[0] != drawn[1]
    plain = set_up(config(tmp_path / "causal", body, objective="causal"), ALONE, resume=False)
    assert plain.drawn(0, 3, 0.0)[0].tokens.tolist() == plain.drawn(1, 3, 0.0)[0].tokens.tolist()


def test_smoothing_is_torchs(body: Path, tmp_path: Path) -> None:
    run = set_up(config(tmp_path, body, label_smoothing=0.2, dropout=0.0), ALONE, resume=False)
    (batch,) = batches_of(run)(0, 0.0)
    (target,), (hidden,) = batch.targets, run.model.hidden_at(batch)
    logits = run.model.logits(hidden)
    expected = torch.nn.functional.cross_entropy(logits, target.labels, reduction="sum", label_smoothing=0.2)
    found, count = run.model.head("words").loss_at(hidden, target)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5) and float(count) == len(
        target.labels
    )
