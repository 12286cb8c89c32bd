"""A loaded model written back says the same: our own runs, models of others, and what was fine-tuned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bothways
from bothways.errors import ModelError, UsageError
from tests.inference.made import CAUSAL, ENGLISH, HYBRID, MLM, REVERSED, UNILM1, make_run
from tests.model.huggingface.test_published_answers import MOODS, OWN, TEXTS, published

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("trained", [HYBRID, MLM, UNILM1, REVERSED], ids=lambda trained: trained.objective)
def test_a_run_is_written_back(trained: bothways.model.Abilities, tmp_path: Path) -> None:
    model = bothways.load(make_run(tmp_path / "run", trained), device="cpu")
    folders = model.save(tmp_path / "again")
    assert {folder.name for folder in folders} == ({*trained.faces} or {"body"})
    for folder in folders:
        again = bothways.load(folder, device="cpu")
        assert again.engine.abilities == trained
        assert np.allclose(again.embed(list(ENGLISH)), model.embed(list(ENGLISH)), atol=1e-5)
        assert "Bothways" in (folder / "README.md").read_text()


GROUPED = {"num_key_value_heads": 2, "head_dim": 16}
BODIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "bert": ("Bert", {}, "BertModel"),
    "bert from the left": ("Bert", {"is_decoder": True}, "BertModel"),
    "eurobert": ("EuroBert", {**GROUPED, "mask_token_id": 4}, "EuroBertModel"),
    "llama": ("Llama", GROUPED, "LlamaModel"),
    "llama, tied": ("Llama", {**GROUPED, "tie_word_embeddings": True}, "LlamaModel"),
    "llama from all sides": ("Llama", {**GROUPED, "is_causal": False}, "EuroBertModel"),
    "qwen3": ("Qwen3", GROUPED, "Qwen3Model"),
    "qwen3 from all sides": ("Qwen3", {**GROUPED, "is_causal": False}, "Qwen3Model"),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_body_of_others_stays_one_and_its_vectors_too(case: str, tmp_path: Path) -> None:
    kind, settings, name = BODIES[case]
    folder = published(tmp_path / "theirs", kind, "", **settings)
    left = case in ("bert from the left", "llama", "llama, tied", "qwen3")
    OWN.save(folder, template="decoder" if left else "encoder", length=64)
    model = bothways.load(folder, device="cpu")
    (again,) = model.save(tmp_path / "ours")
    back, report = transformers.AutoModel.from_pretrained(again, output_loading_info=True)
    assert type(back).__name__ == name and not report["unexpected_keys"]
    assert all("pooler" in key for key in report["missing_keys"])
    vectors = model.embed(TEXTS)
    for path in (folder, again):
        theirs = pytest.importorskip("sentence_transformers").SentenceTransformer(str(path), device="cpu")
        assert np.allclose(theirs.encode(TEXTS), vectors, atol=1e-5)
    for ask in (model.score, model.fill, model.generate):
        with pytest.raises(ModelError, match="was not taught to"):
            ask("the [MASK]")
    assert bothways.load(again).engine.abilities == model.engine.abilities
    for name in ("bothways.json", "SHA256SUMS"):
        (again / name).unlink()
    assert bothways.load(again).engine.abilities == model.engine.abilities


def test_a_classifier_of_others_is_written_back(tmp_path: Path) -> None:
    folder = published(tmp_path / "theirs", "Bert", "SequenceClassification", **MOODS)
    (again,) = bothways.load(folder, device="cpu").save(tmp_path / "ours")
    one, other = (transformers.pipeline("text-classification", model=str(path), top_k=None) for path in (folder, again))
    for mine, theirs in zip(one(TEXTS), other(TEXTS), strict=True):
        assert {e["label"]: e["score"] for e in mine} == pytest.approx({e["label"]: e["score"] for e in theirs})


def test_what_was_fine_tuned_on_less_is_written_back_so(tmp_path: Path) -> None:
    """The body reads 66 tokens, and the tokenizer cuts a text where it was cut in training."""
    folder = published(tmp_path / "theirs", "Bert", "SequenceClassification", **MOODS)
    OWN.save(folder, template="encoder", length=16)
    model = bothways.load(folder, device="cpu")
    (again,) = model.save(tmp_path / "ours")
    assert transformers.AutoTokenizer.from_pretrained(again).model_max_length == 16
    assert bothways.load(again, device="cpu").engine.length == model.engine.length == 16
    long = f"lazy {'the quick brown fox ' * 20}"
    with pytest.warns(UserWarning, match="cut to"):
        one, other = (each.classify(long) for each in (model, bothways.load(again, device="cpu")))
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_a_face_of_another_model_is_not_left_to_be_opened_instead(tmp_path: Path) -> None:
    out = tmp_path / "out"
    bothways.load(make_run(tmp_path / "mlm", MLM), device="cpu").save(out)
    decoder = bothways.load(make_run(tmp_path / "causal", CAUSAL), device="cpu")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=r"out/encoder holds another model, .* in .*out \(decoder\): choose another"):
        decoder.save(out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert bothways.load(out, device="cpu").save(out) == [out / "encoder"]  # over itself
    (out / "encoder").rename(tmp_path / "away")
    assert decoder.save(out) == [out / "decoder"]
