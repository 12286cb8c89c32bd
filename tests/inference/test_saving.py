"""A loaded model written back says the same: our own runs, models of others, and what was fine-tuned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import bothways
from tests.inference.made import ENGLISH, HYBRID, MLM, REVERSED, UNILM1, make_run
from tests.model.test_published_answers import MOODS, OWN, SMALL, TEXTS, published

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("trained", [HYBRID, MLM, UNILM1, REVERSED], ids=lambda trained: trained.objective)
def test_a_run_is_written_back(trained: bothways.model.Trained, tmp_path: Path) -> None:
    model = bothways.load(make_run(tmp_path / "run", trained), device="cpu")
    folders = model.save(tmp_path / "again")
    assert {folder.name for folder in folders} == ({*trained.faces} or {"body"})
    for folder in folders:
        again = bothways.load(folder, device="cpu")
        assert again.reader.trained == trained
        assert np.array_equal(again.embed(list(ENGLISH)), model.embed(list(ENGLISH)))
        assert "Bothways" in (folder / "README.md").read_text()


def test_a_body_of_others_stays_one_and_its_vectors_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = transformers.BertModel(transformers.BertConfig(**SMALL))
    source.save_pretrained(tmp_path / "theirs")
    OWN.save(tmp_path / "theirs", template="encoder", length=64)
    model = bothways.load(tmp_path / "theirs", device="cpu")
    (folder,) = model.save(tmp_path / "ours")
    assert type(transformers.AutoModel.from_pretrained(folder)) is transformers.BertModel
    again = pytest.importorskip("sentence_transformers").SentenceTransformer(str(folder), device="cpu")
    assert np.allclose(again.encode(TEXTS), model.embed(TEXTS), atol=1e-5)


def test_a_classifier_of_others_is_written_back(tmp_path: Path) -> None:
    folder = published(tmp_path / "theirs", "Bert", "SequenceClassification", **MOODS)
    (again,) = bothways.load(folder, device="cpu").save(tmp_path / "ours")
    one, other = (transformers.pipeline("text-classification", model=str(path), top_k=None) for path in (folder, again))
    for mine, theirs in zip(one(TEXTS), other(TEXTS), strict=True):
        assert {e["label"]: e["score"] for e in mine} == pytest.approx({e["label"]: e["score"] for e in theirs})
