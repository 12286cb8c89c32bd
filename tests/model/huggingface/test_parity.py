"""Our Transformer and transformers' compute the same, from the same weights, under the same mask.

EuroBERT and Llama normalise in float32 whatever they are given, so the modern shape is compared in float32 to 1e-5 of
the largest logit; the classic shape in float64 to 1e-9.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bothways.batch import Vocabulary
from bothways.model import Abilities, Model, ModelConfig, from_hugging_face, read_saved, save_faces
from bothways.visibility import Layout, ordered
from tests.model.small import CLASSIC, MODERN, PROJECTED, SHAPES, UNPROJECTED, model_of, packed, random_tokens

transformers = pytest.importorskip("transformers")

VOCABULARY = Vocabulary(size=97, pad=0, unk=1, cls=2, sep=3, mask=4)
AUTO = {"encoder": "AutoModelForMaskedLM", "decoder": "AutoModelForCausalLM", "body": "AutoModel"}
ROWS = {"alone": [[21]], "padded": [[21], [8], [1]], "packed": [[7, 9, 5], [21], [3, 2, 1, 6]]}


def saved(model: Model, run: Path, *faces: str) -> Path:
    save_faces(
        run,
        weights=model.state_dict(),
        config=model.config,
        vocabulary=VOCABULARY,
        trained=Abilities("test", faces, "in place" if "encoder" in faces else None),
        save_tokenizer=lambda folder, template: None,
        card=lambda face: f"# {face}\n",
    )
    return run


def theirs(run: Path, face: str, dtype: torch.dtype = torch.float32) -> Any:
    """LanguageModel as a stranger would; every weight must be found, and none left over."""
    model, report = getattr(transformers, AUTO[face]).from_pretrained(
        run / face, output_loading_info=True, dtype=dtype, attn_implementation="sdpa"
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    return model.eval()


def close(found: torch.Tensor, expected: torch.Tensor, share: float = 1e-5) -> None:
    assert (found - expected).abs().max() <= share * expected.abs().max()


def logits(model: Model, tokens: torch.Tensor, layout: Layout) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model.backbone(tokens, layout, ordered.dense(layout)))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("face", ["encoder", "decoder"])
def test_both_faces_of_the_modern_shape_under_a_mask_of_packed_rows(face: str, rows: str, tmp_path: Path) -> None:
    model, layout = model_of(MODERN), packed(*ROWS[rows], causal=face == "decoder")
    tokens = random_tokens(layout)
    with torch.no_grad():
        found = theirs(saved(model, tmp_path, "encoder", "decoder"), face)(
            input_ids=tokens, attention_mask=ordered.dense(layout), position_ids=layout.position.long()
        ).logits
    close(logits(model, tokens, layout), found)


@pytest.mark.parametrize("face", ["encoder", "decoder"])
@pytest.mark.parametrize("shape", SHAPES)
def test_both_faces_as_everybody_calls_them(shape: str, face: str, tmp_path: Path) -> None:
    """Tokens and a padding mask; nothing else is said."""
    model, layout = model_of(SHAPES[shape]), packed([21], [8], causal=face == "decoder")
    tokens = random_tokens(layout)
    with torch.no_grad():
        found = theirs(saved(model, tmp_path, "encoder", "decoder"), face)(
            input_ids=tokens, attention_mask=layout.real.long()
        ).logits
    close(logits(model, tokens, layout)[layout.real], found[layout.real])


@pytest.mark.parametrize("shape", ["classic", "projected"])
def test_the_classic_shape_in_float64(shape: str, tmp_path: Path) -> None:
    """Packed rows, segments, and every head weight of BERT and ELECTRA."""
    model, layout = model_of(SHAPES[shape]), packed([7, 9, 5], [12, 4], segments=True)
    tokens = random_tokens(layout)
    with torch.no_grad():
        found = theirs(saved(model, tmp_path, "encoder"), "encoder", torch.float64)(
            input_ids=tokens,
            token_type_ids=layout.segment.long(),
            attention_mask=ordered.dense(layout),
            position_ids=layout.position.long(),
        ).logits
    close(logits(model.double(), tokens, layout), found, share=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_body_is_loaded_by_auto_model(shape: str, tmp_path: Path) -> None:
    config = SHAPES[shape].model_copy(update={"word_head": "tied"})
    model, layout = model_of(config), packed([21])
    tokens = random_tokens(layout)
    run = saved(model, tmp_path)
    reads = ordered.dense(layout).tril().transpose(-1, -2)  # right to left: a mask of one's own
    body, report = transformers.AutoModel.from_pretrained(run / "body", output_loading_info=True)
    assert not report["unexpected_keys"]
    assert all("pooler" in name for name in report["missing_keys"])  # BERT's, which nothing of ours trains
    with torch.no_grad():
        found = body.eval()(input_ids=tokens, attention_mask=reads).last_hidden_state
        close(model.backbone(tokens, layout, reads), found)


def test_the_angles_are_transformers_own_bit_by_bit() -> None:
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    from bothways.model.attention import Rotary

    position = torch.arange(4096)[None]
    config = transformers.LlamaConfig(hidden_size=128, num_attention_heads=2)
    cos, sin = LlamaRotaryEmbedding(config)(torch.zeros(1), position)
    rotary = Rotary(position, head_width=64, base=10_000.0, dtype=torch.float32)
    assert torch.equal(rotary.cos[:, 0], cos) and torch.equal(rotary.sin[:, 0], sin)


BERT = {
    "vocab_size": 97,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 112,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}
ELECTRA = {**BERT, "embedding_size": 32}


@pytest.mark.parametrize(
    ("kind", "name", "settings"),
    [
        ("Bert", "BertForMaskedLM", BERT),
        ("Bert", "BertForPreTraining", BERT),
        ("Bert", "BertModel", BERT),
        ("Electra", "ElectraForMaskedLM", ELECTRA),
        ("Electra", "ElectraForPreTraining", ELECTRA),
        ("Electra", "ElectraForMaskedLM", {**ELECTRA, "embedding_size": 64}),
        ("Electra", "ElectraModel", {**ELECTRA, "embedding_size": 64}),
        ("Bert", "BertForSequenceClassification", BERT),
    ],
)
def test_published_kinds_are_loaded(kind: str, name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """Random checkpoints as transformers writes them: states, and logits where there is a word head."""
    torch.manual_seed(0)
    source = getattr(transformers, name)(getattr(transformers, f"{kind}Config")(**settings)).eval().double()
    with torch.no_grad():
        for parameter in source.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    source.save_pretrained(tmp_path)
    model = from_hugging_face(tmp_path).double().eval()
    layout = packed([7, 9], [12], segments=True)
    tokens = random_tokens(layout)
    with torch.no_grad():
        found = source(
            input_ids=tokens,
            token_type_ids=layout.segment.long(),
            attention_mask=ordered.dense(layout),
            position_ids=layout.position.long(),
            output_hidden_states=True,
        )
        states = model.backbone(tokens, layout, ordered.dense(layout))
    # what is on disk is float64 here, but our masters are float32
    close(states, found.hidden_states[-1], share=2e-6)
    words = getattr(found, "logits", getattr(found, "prediction_logits", None))
    if model.config.word_head == "transformed":
        close(model.logits(states), words, share=2e-6)
    else:
        assert name in {"BertModel", "ElectraModel", "ElectraForPreTraining", "BertForSequenceClassification"}


@pytest.mark.parametrize("config", [MODERN, CLASSIC, PROJECTED, UNPROJECTED])
def test_what_is_saved_comes_back_bit_by_bit(config: ModelConfig, tmp_path: Path) -> None:
    model = model_of(config)
    run = saved(model, tmp_path, "encoder", "decoder")
    for face in ("encoder", "decoder"):
        again = from_hugging_face(run / face)
        assert again.config == config
        assert again.state_dict().keys() == model.state_dict().keys()
        assert all(torch.equal(again.state_dict()[name], weight) for name, weight in model.state_dict().items())


def test_what_transformers_saves_again_comes_back_too(tmp_path: Path) -> None:
    """A model fine-tuned and saved by others: their config.json says more, and in other words."""
    model = model_of(MODERN)
    run = saved(model, tmp_path / "run", "encoder", "decoder")
    for face in ("encoder", "decoder"):
        theirs(run, face).save_pretrained(tmp_path / face)
        again = read_saved(tmp_path / face)
        assert again.trained == Abilities("", (face,), "in place" if face == "encoder" else None)
        assert again.model.config == model.config
        weights = again.model.state_dict()
        assert all(torch.equal(weights[name], weight) for name, weight in model.state_dict().items())
