"""Published kinds of models as transformers writes them: read by us and written back, the same both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bothways.batch import Vocabulary
from bothways.errors import ModelError
from bothways.model import Abilities, Cache, architecture, read_saved, save_faces
from bothways.model.config import RotaryScaling
from bothways.model.huggingface.config_json import read_config
from bothways.visibility import ordered
from tests.model.small import MODERN, changed, model_of, packed, random_tokens

transformers = pytest.importorskip("transformers")

VOCABULARY = Vocabulary(size=97, pad=1, unk=3, cls=0, sep=2, mask=4)
SMALL = {
    "vocab_size": 97,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 112,
    "max_position_embeddings": 66,
    "initializer_range": 0.2,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
OF_ROBERTA = {**SMALL, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
GROUPED = {**SMALL, "num_key_value_heads": 2, "tie_word_embeddings": True}
LLAMA_3 = {
    "rope_theta": 5000.0,
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {
    "rope_theta": 500.0,
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}
FOUR = {**SMALL, "num_hidden_layers": 4, "local_attention": 8}
GPT2 = {
    "vocab_size": 97,
    "n_embd": 64,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 66,
    **{name: SMALL[name] for name in ("initializer_range", "pad_token_id", "bos_token_id", "eos_token_id")},
}
DISTILBERT = {
    "vocab_size": 97,
    "dim": 64,
    "n_layers": 3,
    "n_heads": 4,
    "hidden_dim": 112,
    "max_position_embeddings": 66,
    **{name: SMALL[name] for name in ("initializer_range", "pad_token_id")},
}
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("Bert", "ForNextSentencePrediction", SMALL),
    "roberta": ("Roberta", "ForMaskedLM", OF_ROBERTA),
    "roberta, causal": ("Roberta", "ForCausalLM", {**OF_ROBERTA, "is_decoder": True}),
    "xlm-roberta": ("XLMRoberta", "ForMaskedLM", OF_ROBERTA),
    "eurobert": ("EuroBert", "ForMaskedLM", {**GROUPED, "mask_token_id": 4}),
    "llama": ("Llama", "ForCausalLM", {**GROUPED, "tie_word_embeddings": False}),
    "llama 3": ("Llama", "ForCausalLM", {**GROUPED, "rope_parameters": LLAMA_3}),
    "llama with wide heads": ("Llama", "ForCausalLM", {**GROUPED, "head_dim": 32}),
    "qwen3": ("Qwen3", "ForCausalLM", {**GROUPED, "head_dim": 32}),
    "llama with YaRN": ("Llama", "ForCausalLM", {**GROUPED, "rope_parameters": YARN}),
    "qwen3 with YaRN and a weight": (
        *("Qwen3", "ForCausalLM"),
        {**GROUPED, "head_dim": 32, "rope_parameters": {**YARN, "attention_factor": 0.7, "truncate": False}},
    ),
    "llama, linear": (
        *("Llama", "ForCausalLM"),
        {**GROUPED, "rope_parameters": {"rope_theta": 500.0, "rope_type": "linear", "factor": 4.0}},
    ),
    "mistral": ("Mistral", "ForCausalLM", {**GROUPED, "sliding_window": None}),
    "mistral with windows": ("Mistral", "ForCausalLM", {**GROUPED, "sliding_window": 6}),
    "qwen2": ("Qwen2", "ForCausalLM", GROUPED),
    "modernbert": ("ModernBert", "ForMaskedLM", FOUR),
    "modernbert that sees all": ("ModernBert", "ForMaskedLM", {**FOUR, "layer_types": ["full_attention"] * 4}),
    "modernbert-decoder": ("ModernBertDecoder", "ForCausalLM", FOUR),
    "gpt2": ("GPT2", "LMHeadModel", GPT2),
    "gpt2, untied": ("GPT2", "LMHeadModel", {**GPT2, "n_inner": 96, "tie_word_embeddings": False}),
    "distilbert": ("DistilBert", "ForMaskedLM", DISTILBERT),
    "qwen3 without groups": ("Qwen3", "ForCausalLM", {**SMALL, "head_dim": 16, "num_key_value_heads": 4}),
}


def published(case: str, folder: Path) -> tuple[Any, str]:
    """A random model in a folder, norms and biases random too, and the face that it has."""
    kind, head, settings = KINDS[case]
    torch.manual_seed(0)
    source = getattr(transformers, f"{kind}{head}")(getattr(transformers, f"{kind}Config")(**settings)).eval()
    with torch.no_grad():
        for parameter in source.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    source.save_pretrained(folder)
    return source, "encoder" if head == "ForMaskedLM" else "decoder"


def logits(model: Any, tokens: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=tokens, attention_mask=real.long()).logits[real]
    return found


@pytest.mark.parametrize("case", [case for case in KINDS if case != "bert"])  # test_parity.py has BERT's and ELECTRA's
def test_read_and_written_back(case: str, tmp_path: Path) -> None:
    source, face = published(case, tmp_path / "theirs")
    layout = packed([21], [8], causal=face == "decoder")
    tokens = random_tokens(layout)
    expected = logits(source, torch.where(layout.real, tokens, 1), layout.real)

    saved = read_saved(tmp_path / "theirs")
    assert saved.trained.faces == (face,)
    with torch.no_grad():
        model = saved.model.eval()
        found = model.logits(model.backbone(tokens, layout, ordered.dense(layout)))[layout.real]
    assert (found - expected).abs().max() <= 2e-5 * expected.abs().max()

    save_faces(
        tmp_path / "ours",
        weights=model.state_dict(),
        config=model.config,
        vocabulary=VOCABULARY,
        trained=saved.trained,
        save_tokenizer=lambda folder, template: None,
        card=lambda face: f"# {face}\n",
    )
    auto = transformers.AutoModelForMaskedLM if face == "encoder" else transformers.AutoModelForCausalLM
    again, report = auto.from_pretrained(tmp_path / "ours" / face, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    back = logits(again.eval(), torch.where(layout.real, tokens, 1), layout.real)
    assert (back - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert read_saved(tmp_path / "ours" / face).model.config == model.config


def test_the_rotary_scaling_of_old_is_the_same(tmp_path: Path) -> None:
    """Hub checkpoints of Llama 3 name it rope_scaling, beside rope_theta."""
    published("llama 3", tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    modern = read_saved(tmp_path).model.config
    rope = values.pop("rope_parameters")
    values |= {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope}
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert read_saved(tmp_path).model.config == modern
    assert modern.positions.scaling == RotaryScaling(factor=8, low=1, high=4, length=64)


def test_weights_in_several_files(tmp_path: Path) -> None:
    source, _ = published("llama", tmp_path / "whole")
    source.save_pretrained(tmp_path / "parts", max_shard_size="100KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    whole, parts = (read_saved(tmp_path / name).model.state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(parts[name], weight) for name, weight in whole.items())
    next((tmp_path / "parts").glob("*-00001-*.safetensors")).unlink()
    with pytest.raises(ModelError, match=r"model-00001-of-.*cannot be read"):
        read_saved(tmp_path / "parts")


def test_generation_with_a_cache_where_heads_share_keys(tmp_path: Path) -> None:
    config = changed(MODERN, heads=4, attention={"key_heads": 2, "head_norm": True})
    model, layout = model_of(config), packed([9], causal=True)
    tokens = random_tokens(layout)
    with torch.no_grad():
        whole = model.backbone(tokens, layout, ordered.dense(layout))
        cache = Cache(config, rows=1, capacity=9, like=model.table)
        cache.take(1)
        parts = []
        for place in range(9):
            one = layout.map(lambda column, place=place: column[:, place : place + 1])
            seen = cache.grow(one)
            mask = ordered.dense(seen)[:, :, -1:]
            parts.append(model.backbone(tokens[:, place : place + 1], one, mask, cache))
    assert (torch.cat(parts, 1) - whole).abs().max() <= 2e-5 * whole.abs().max()


def test_qwen3_has_no_face_that_reads_from_all_sides() -> None:
    config = changed(MODERN, attention={"head_norm": True})
    assert architecture(config, "decoder") == ("qwen3", "Qwen3ForCausalLM")
    with pytest.raises(ModelError, match="no encoder of qwen3's shape; it has: body, decoder"):
        architecture(config, "encoder")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": {"key_heads": 3}}, "heads must be a multiple of key_heads, got 2 and 3"),
        ({"attention": {"head_size": 15}}, "even head width"),
    ],
)
def test_shapes_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        changed(MODERN, **changes)


def test_robertas_padding_is_token_one(tmp_path: Path) -> None:
    source, _ = published("roberta", tmp_path / "theirs")
    saved = read_saved(tmp_path / "theirs")
    assert saved.model.config.length == 64
    table = source.roberta.embeddings.position_embeddings.weight
    assert torch.equal(saved.model.backbone.embeddings.positions.weight, table[2:])
    with pytest.raises(ModelError, match="roberta's padding is token 1, this tokenizer's is 0"):
        save_faces(
            tmp_path / "ours",
            weights=saved.model.state_dict(),
            config=saved.model.config,
            vocabulary=Vocabulary(size=97, pad=0, unk=1, cls=2, sep=3, mask=4),
            trained=Abilities("", ("encoder",), "in place"),
            save_tokenizer=lambda folder, template: None,
            card=lambda face: "",
        )


def test_sizes_that_do_not_fit_are_told_plainly() -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 3}
    more = {"intermediate_size": 64, "vocab_size": 50, "max_position_embeddings": 32}
    with pytest.raises(ModelError, match="head_dim do not fit: heads must be a multiple of key_heads, got 4 and 3"):
        read_config({"model_type": "llama", **sizes, **more}, words=False)
