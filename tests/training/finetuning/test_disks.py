"""A fine-tuned model that cannot be written leaves nothing, and is written once it can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import bothways
from bothways.errors import MachineError
from bothways.training.finetuning import finetune, finetune_seeds, predict
from tests.disks import half_written, limited
from tests.tasks.conftest import config, reviews, write


@pytest.mark.parametrize(("changes", "made"), [({}, "model"), ({"adapter": "lora(rank=2)"}, "adapter")])
def test_a_model_that_the_disk_refuses(changes: dict[str, Any], made: str, body: Path, tmp_path: Path) -> None:
    chosen = config(tmp_path, body, epochs=1, **changes)
    with limited() as limit, pytest.raises(MachineError, match="File too large"):
        finetune(chosen, say=lambda text: limit(8_000) if text.startswith("saving") else None)
    assert not (chosen.out / made).exists() and half_written(tmp_path) == []
    finetune(chosen, resume=True)
    assert (chosen.out / made).is_dir() and half_written(tmp_path) == []


def test_the_best_of_seeds_that_the_disk_refuses(body: Path, tmp_path: Path) -> None:
    chosen = config(tmp_path, body, epochs=1)
    finetune_seeds(chosen, 1)
    before = (chosen.out / "model" / "config.json").read_bytes()
    with limited() as limit, pytest.raises(MachineError, match="File too large"):
        limit(8_000)
        finetune_seeds(chosen, 1)
    assert (chosen.out / "model" / "config.json").read_bytes() == before and half_written(tmp_path) == []


def test_a_saved_model_that_the_disk_refuses(body: Path, tmp_path: Path) -> None:
    """As `merge` and a GGUF file that is written anew, too."""
    model = bothways.load(body, device="cpu")
    with limited() as limit, pytest.raises(MachineError, match="File too large"):
        limit(8_000)
        model.save(tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


def test_answers_that_the_disk_refuses(classifier: Path, tmp_path: Path) -> None:
    """The old ones stay; and what a killed command left half-written is gone after the next one."""
    file, out = write(tmp_path / "asked.jsonl", *reviews()), tmp_path / "answers.jsonl"
    out.write_text("old")
    with limited() as limit, pytest.raises(MachineError, match="File too large"):
        limit(1_000)
        predict(classifier, file, out)
    assert out.read_text() == "old" and half_written(tmp_path) == []
    (tmp_path / ".answers.jsonl.partial").write_text("half")
    (tmp_path / ".answers.jsonl.claimed").write_text("process 1 on a machine that was switched off")
    assert predict(classifier, file, out) == len(reviews())
    assert out.read_text().count("\n") == len(reviews()) and half_written(tmp_path) == []


def test_a_record_that_cannot_be_read_is_no_fault_of_the_disk(classifier: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "asked.jsonl", {"text": "good"}, {"no": 1})
    with pytest.raises(bothways.errors.DataError):
        predict(classifier, file, tmp_path / "answers.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["asked.jsonl"]
