"""Which way a body of others reads is what its config.json says, under every head; a contradiction is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from bothways.batch import Vocabulary
from bothways.errors import ModelError
from bothways.model import Abilities, Model, read_saved, save_faces
from tests.inference.made import CAUSAL, MLM, make_run
from tests.model.huggingface.configurations import FAMILIES
from tests.model.huggingface.test_config_fields import Made, changed, folders, ours, theirs

transformers = pytest.importorskip("transformers")

__all__ = ["folders"]  # the fixture
CLASSIC = ("Bert", "Roberta", "XLMRoberta", "Electra")
VOCABULARY = Vocabulary(size=61, pad=1, unk=3, cls=0, sep=2, mask=4)
LEFT = {"is_decoder": True}
SAYS: list[tuple[str, str, dict[str, Any], str]] = [
    *((family, "words", LEFT, "decoder") for family in CLASSIC),
    *((family, "TokenClassification", LEFT, "decoder") for family in CLASSIC),
    *((family, "words", {**LEFT, "is_causal": False}, "encoder") for family in CLASSIC),
    *((family, "words", {"is_causal": False}, "encoder") for family in (*CLASSIC, "EuroBert", "Llama", "Qwen3")),
    *((family, "words", {"is_causal": True}, "decoder") for family in ("Llama", "Qwen3")),
    *((family, "TokenClassification", {"is_causal": False}, "encoder") for family in ("Llama", "Qwen3")),
    *((family, "words", {"is_causal": None}, "encoder") for family in (*CLASSIC, "EuroBert")),
]


@pytest.mark.parametrize(("family", "head", "said", "reads"), SAYS)
def test_config_json_says_which_way_it_reads(
    family: str, head: str, said: dict[str, Any], reads: str, folders: Made, tmp_path: Path
) -> None:
    values = changed(folders[family, head], tmp_path / "model", **said)
    assert read_saved(tmp_path / "model").trained.faces == (reads,)
    expected = theirs(tmp_path / "model", values)
    assert expected is not None
    for found, other in zip(ours(tmp_path / "model"), expected, strict=True):
        assert (found - other).abs().max() <= 1e-5 * other.abs().max()


@pytest.mark.parametrize("causal", [True, False])
def test_a_class_of_the_next_word_that_reads_from_all_sides(causal: bool, folders: Made, tmp_path: Path) -> None:
    """What BertLMHeadModel reads is what is_decoder says; what it says at a place is the word after it."""
    values = changed(folders["Bert", "words"], tmp_path / "model", architectures=["BertLMHeadModel"], is_decoder=causal)
    saved = read_saved(tmp_path / "model")
    assert saved.trained == Abilities("", ("decoder",) if causal else ("encoder",), None if causal else "before")
    expected = theirs(tmp_path / "model", values)
    assert expected is not None
    for found, other in zip(ours(tmp_path / "model"), expected, strict=True):
        assert (found - other).abs().max() <= 1e-5 * other.abs().max()
    if not causal:  # BertForMaskedLM would be asked at the word's own place
        with pytest.raises(ModelError, match="one place before its mask"):
            write(saved.model, saved.trained, tmp_path / "ours")


def write(model: Model, trained: Abilities, run: Path) -> Path:
    (folder,) = save_faces(
        run,
        weights=model.state_dict(),
        config=model.config,
        vocabulary=VOCABULARY,
        trained=trained,
        save_tokenizer=lambda folder, template: None,
        card=lambda face: "",
    )
    return folder


@pytest.mark.parametrize("head", ["TokenClassification", "words"])
@pytest.mark.parametrize("family", CLASSIC)
def test_what_reads_from_the_left_is_written_back_so(family: str, head: str, folders: Made, tmp_path: Path) -> None:
    changed(folders[family, head], tmp_path / "model", **LEFT)
    saved = read_saved(tmp_path / "model")
    folder = write(saved.model, saved.trained, tmp_path / "ours")
    values = json.loads((folder / "config.json").read_text())
    assert values["is_decoder"] is True
    expected = theirs(folder, values)
    assert expected is not None
    for found, other in zip(ours(tmp_path / "model"), expected, strict=True):
        assert (found - other).abs().max() <= 1e-5 * other.abs().max()


@pytest.mark.parametrize(
    ("family", "said"),
    [
        *((family, {"is_causal": True}) for family in (*CLASSIC, "EuroBert")),
        *((family, {**LEFT, "is_causal": None}) for family in CLASSIC),
        *((family, {"is_causal": None}) for family in ("Llama", "Qwen3")),
    ],
)
def test_two_ways_at_once_are_refused(family: str, said: dict[str, Any], folders: Made, tmp_path: Path) -> None:
    """transformers reads such a model otherwise where a text is padded: there is nothing to be equal to."""
    source, folder = folders[family, "words"], tmp_path / "model"
    values = changed(source, folder, **said)
    expected = theirs(folder, values)
    assert expected is not None
    padded, alone = expected
    assert (padded[:14] - alone).abs().max() > 1e-2 * alone.abs().max()  # the very same text, beside a shorter one
    with pytest.raises(ModelError, match=f"is_causal is {said['is_causal']}: .* where a text is padded"):
        read_saved(folder)


@pytest.mark.parametrize(
    ("family", "kind"),
    [*((family, "SequenceClassification") for family in (*CLASSIC, "Llama", "Qwen3")), ("Electra", "PreTraining")],
)
def test_a_head_that_reads_the_other_way_is_refused_by_name(family: str, kind: str, tmp_path: Path) -> None:
    """A classifier's first token sees itself alone from the left; Llama's takes the last token whatever it reads."""
    said: dict[str, Any] = {"is_causal": False} if family in ("Llama", "Qwen3") else LEFT
    config = getattr(transformers, f"{family}Config")(**FAMILIES[family])
    getattr(transformers, f"{family}For{kind}")(config).save_pretrained(tmp_path / "source")
    changed(tmp_path / "source", tmp_path / "model", **said)
    field, value = next(iter(said.items()))
    with pytest.raises(ModelError, match=f"{field} is {value}, so that this {family}For{kind} reads from"):
        read_saved(tmp_path / "model")


def test_a_word_head_that_is_not_the_table_is_not_dropped(folders: Made, tmp_path: Path) -> None:
    """Under tie_word_embeddings transformers keeps both where they differ; BERT's shape has no place for that here."""
    values = changed(folders["Llama", "words"], tmp_path / "llama", tie_word_embeddings=True)
    expected = theirs(tmp_path / "llama", values)
    assert expected is not None and read_saved(tmp_path / "llama").model.config.word_head == "untied"
    for found, other in zip(ours(tmp_path / "llama"), expected, strict=True):
        assert (found - other).abs().max() <= 1e-5 * other.abs().max()


@pytest.mark.parametrize(
    ("family", "name", "like"),
    [
        ("Bert", "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
        ("Bert", "cls.predictions.decoder.bias", "cls.predictions.bias"),
        ("Roberta", "lm_head.decoder.weight", "roberta.embeddings.word_embeddings.weight"),
        ("Roberta", "lm_head.decoder.bias", "lm_head.bias"),
        ("Electra", "generator_lm_head.weight", "electra.embeddings.word_embeddings.weight"),
    ],
)
def test_a_second_table_or_bias_of_the_classic_shape(
    family: str, name: str, like: str, folders: Made, tmp_path: Path
) -> None:
    """The same as the one it is tied to, as old checkpoints hold it, or refused by name."""
    changed(folders[family, "words"], tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    save_file({**tensors, name: tensors[like].clone()}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert read_saved(tmp_path).model.config.word_head == "transformed"
    save_file({**tensors, name: tensors[like] + 0.1}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"{name} differs from {like}"):
        read_saved(tmp_path)


@pytest.mark.parametrize(("trained", "face", "said"), [(CAUSAL, "decoder", False), (MLM, "encoder", True)])
def test_a_model_of_ours_is_not_turned_round_in_silence(
    trained: Abilities, face: str, said: bool, tmp_path: Path
) -> None:
    """bothways.json says what was taught; a config.json that was changed since says another thing."""
    folder = make_run(tmp_path, trained) / face
    assert read_saved(folder).trained.faces == (face,)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"is_causal": said}))
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ModelError, match=rf"is_causal is {said}(, and the model was taught|: transformers reads)"):
        read_saved(folder)


def test_a_class_that_is_no_list_is_named(folders: Made, tmp_path: Path) -> None:
    changed(folders["Llama", "words"], tmp_path / "llama", architectures="LlamaForCausalLM")
    with pytest.raises(ModelError, match="architectures: expected a list with the name of a class, got 'Llama"):
        read_saved(tmp_path / "llama")
