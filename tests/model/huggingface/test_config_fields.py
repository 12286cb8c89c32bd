"""Every field of every family's config.json, changed (and null and absent where we read it): our logits are those of
transformers, or the folder is refused by the field's name. What transformers reads and no class declares is walked too.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bothways.batch import Batch, SourceTokens
from bothways.errors import ModelError
from bothways.model import read_saved
from bothways.model.huggingface.families import family_of
from bothways.visibility import ordered
from tests.model.huggingface.configurations import CASES, FAMILIES, TWO_SIDED, WORDS
from tests.model.huggingface.configurations import theirs as named
from tests.model.small import logits_at, packed, random_tokens

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()  # it warns of most of what is tried here
transformers.logging.disable_progress_bar()

READ_BY_HEADS = {"id2label", "label2id", "num_labels", "problem_type", "classifier_dropout", "classifier_pooling"}
READ_BY_HEADS |= {"token_classification_bias", "pad_token_id", "is_decoder", "is_causal", "tie_word_embeddings"}
"""What a classifier or a tagger may read otherwise than a model of words, by its own name or the body's."""
LLAMA_3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}

CHANGED: dict[str, tuple[Any, ...]] = {
    "vocab_size": (60, 62),
    "hidden_size": (16, 64),
    "embedding_size": (8, 32),
    "num_hidden_layers": (2,),
    "num_attention_heads": (2, 8),
    "num_key_value_heads": (1, 4),
    "head_dim": (4, 16),
    "intermediate_size": (32, 64),
    "max_position_embeddings": (32, 64),
    "type_vocab_size": (1, 2, 3),
    "layer_norm_eps": (0.5,),
    "rms_norm_eps": (0.5,),
    "hidden_act": ("relu", "gelu_new", "silu", "gelu"),
    "is_decoder": (True,),
    "add_cross_attention": (True,),
    "is_encoder_decoder": (True,),
    "tie_word_embeddings": (True, False),
    "attention_bias": (True,),
    "mlp_bias": (True,),
    "rope_parameters": (
        {"rope_theta": 500.0},
        {"rope_theta": 50.0, **LLAMA_3},
        {
            "rope_theta": 50.0,
            "type": "llama3",
            **{name: value for name, value in LLAMA_3.items() if name != "rope_type"},
        },
        {"rope_theta": 50.0, **YARN},
        {"rope_theta": 50.0, "rope_type": "linear", "factor": 4.0},
        {"rope_theta": 50.0, "rope_type": "dynamic", "factor": 4.0},
        {"rope_theta": 50.0, "rope_type": "default", "partial_rotary_factor": 0.5},
        {"rope_theta": 50.0, **LLAMA_3, "partial_rotary_factor": 0.5},
        {"full_attention": {"rope_theta": 500.0, "rope_type": "default"}},
        {"rope_type": "default"},
    ),
    "use_sliding_window": (True,),
    "layer_types": (
        *(["sliding_attention"], ["full_attention"], ["attention"], ["full_attention"] * 3),
        ["full_attention", "sliding_attention", "sliding_attention"],
        ["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "local_attention": (2, 5, 40),
    "norm_eps": (0.5,),
    "layer_norm_epsilon": (0.5,),
    "hidden_activation": ("relu", "gelu_new"),
    "activation_function": ("relu", "gelu", "gelu_pytorch_tanh"),
    "activation": ("relu", "gelu_new"),
    "norm_bias": (True,),
    "decoder_bias": (False,),
    "classifier_bias": (True,),
    "classifier_activation": ("relu",),
    "n_layer": (2,),
    "n_layers": (2,),
    "n_head": (2, 8),
    "n_heads": (2, 8),
    "n_embd": (16, 64),
    "dim": (16, 64),
    "n_inner": (32, None),
    "hidden_dim": (32, 64),
    "n_positions": (32, 64),
    "scale_attn_weights": (False,),
    "scale_attn_by_inverse_layer_idx": (True,),
    "reorder_and_upcast_attn": (True,),
    "sinusoidal_pos_embds": (True,),
    "classifier_pooling": ("bos", "late", "cls", "mean"),
    "pad_token_id": (5,),
    "bos_token_id": (7,),
    "eos_token_id": (7, [2, 7]),
    "mask_token_id": (7,),
    "id2label": ({0: "x", 1: "y", 2: "z"}, {0: "a", 1: "b"}),
    "label2id": ({"x": 0},),
    "problem_type": ("regression", "single_label_classification", "multi_label_classification"),
    "initializer_range": (0.5,),
    "hidden_dropout_prob": (0.5,),
    "attention_probs_dropout_prob": (0.5,),
    "attention_dropout": (0.5,),
    "classifier_dropout": (0.5,),
    **dict.fromkeys(("mlp_dropout", "embedding_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop"), (0.5,)),
    **dict.fromkeys(("dropout", "qa_dropout", "seq_classif_dropout", "summary_first_dropout"), (0.5,)),
    **dict.fromkeys(("cls_token_id", "sep_token_id", "sparse_pred_ignore_index"), (7,)),
    **dict.fromkeys(("deterministic_flash_attn", "sparse_prediction"), (True,)),
    "summary_proj_to_labels": (False,),
    "initializer_cutoff_factor": (3.0,),
    "use_cache": (False,),
    "return_dict": (False,),
    "output_hidden_states": (True,),
    "chunk_size_feed_forward": (7,),
    "pretraining_tp": (2,),
    "sliding_window": (3,),
    "max_window_layers": (0, 1),
    "summary_type": ("mean",),
    "summary_use_proj": (False,),
    "summary_activation": ("tanh",),
    "summary_last_dropout": (0.5,),
    **dict.fromkeys(("encoder_layers", "decoder_layers"), (3,)),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), (32, 64)),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), (2, 8)),
    "d_model": (16, 64),
    "init_std": (0.5,),
    "scale_embedding": (True,),
    **dict.fromkeys(("encoder_layerdrop", "decoder_layerdrop", "activation_dropout", "dropout_rate"), (0.5,)),
    "classifier_dropout_rate": (0.5,),
    "decoder_start_token_id": (7,),
    "forced_eos_token_id": (7,),
    "query_pre_attn_scalar": (4, 16),
    **dict.fromkeys(("final_logit_softcapping", "attn_logit_softcapping"), (2.0,)),
}
EXEMPT = {
    "architectures": "names the class, which is what is compared; test_directions.py walks them",
    "dtype": "in what the logits are computed, which is for the caller to say; the weights are those of the file",
    "transformers_version": "a note of the writer; no code reads it",
}
"""{field that is not walked: the reason}"""
UNDECLARED: dict[str, tuple[Any, ...]] = {
    "rope_scaling": (YARN, LLAMA_3, {"type": "linear", "factor": 2.0}, {"rope_type": "default"}, {}),
    "rope_theta": (500.0,),
    **dict.fromkeys(("global_rope_theta", "local_rope_theta"), (500.0,)),
    "global_attn_every_n_layers": (2,),
    "head_dim": (4, 16),
    **{name: CHANGED[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")},
    "max_position_embeddings": (32,),
    "partial_rotary_factor": (0.5,),
    "original_max_position_embeddings": (8,),
    "is_causal": (True, False, None),
    "is_decoder": (True,),
    "sliding_window": (3,),
    "attention_chunk_size": (3,),
    "layer_types": (["sliding_attention"], ["full_attention"]),
    "kv_sharing_modes": (["reuse"],),
    "per_layer_config": ({"0": {"hidden_act": "relu"}}, {}),
    "position_embedding_type": ("relative_key", "absolute"),
    "token_classification_bias": (False,),
    "num_labels": (2, 3),
    "quantization_config": ({"quant_method": "bitsandbytes", "load_in_8bit": True},),
    "pruned_heads": ({"0": [1]}, {}),
    "text_config": ({"hidden_size": 16},),
    "decoder": ({"hidden_size": 16},),
    "generator": ({"hidden_size": 16},),
    "text_encoder": ({"hidden_size": 16},),
    "hidden_dropout": (0.5,),
    "classifier_dropout": (0.5,),
    "torch_dtype": ("float32",),
    "use_cache": (False,),
    "gradient_checkpointing": (True,),
    "attn_implementation": ("eager",),
    "output_attentions": (True,),
}
"""What the class does not declare: of older versions, or read by transformers all the same."""
HARMLESS = {
    **dict.fromkeys(("base_model_tp_plan", "base_model_pp_plan", "base_model_ep_plan"), "of the class"),
    **dict.fromkeys(("base_model_fsdp_plan", "sub_configs", "is_heterogeneous"), "of the class"),
    **dict.fromkeys(("name_or_path", "auto_map"), "where a model or code for it came from; none is fetched"),
    **dict.fromkeys(("vision_aspect_ratio", "vision_feature_layer", "vision_feature_select_strategy"), "of pictures"),
    "output_cross_attentions": "what is returned",
    "attribute_map": "of the class",
    "initializer_range": "of the whole: new weights alone",
    "cross_attention_hidden_size": "the width of the encoder, whatever is written there",
}
"""{what transformers reads of a configuration and a config.json need not be walked with: the reason}"""
NOT_THEIRS = {
    "classifier_dropout": "null, of ModernBERT: a dropout of nothing",
    "classifier_pooling": "null; of a classifier alone, where it is refused",
    "head_dim": "null, of Qwen3: we take the width of a head from the others' sizes, and the tensors must fit",
    "pad_token_id": "null: Llama's and Qwen3's classifiers take one text at a time then",
    "return_dict": "false: Llama's classes stumble over the tuple of their own body",
    "rope_scaling": "BERT has no rotary positions, and transformers stumbles over the missing rope_theta",
}
"""{field that we leave alone and of which transformers does not take every value that is tried: the reason}"""
NEVER = object()
INHERITED = dataclasses.fields(transformers.PreTrainedConfig)


class Made(dict[tuple[str, str], Path]):
    """{(family, head): a folder with a random model of it, made when it is asked for; norms and biases random too}."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self.factory = factory

    def __missing__(self, key: tuple[str, str]) -> Path:
        family, head = key
        torch.manual_seed(0)
        name = f"{named(family)}{WORDS[family] if head == 'words' else f'For{head}'}"
        model = getattr(transformers, name)(configuration_of(family))
        if family == "T5Gemma":  # it has a table on either side, and ours is one
            model.model.decoder.embed_tokens.weight.data.copy_(model.model.encoder.embed_tokens.weight.data)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter) * 0.3)
        self[key] = self.factory.mktemp(f"{family}-{head}")
        model.save_pretrained(self[key])
        return self[key]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory)


def configuration_of(family: str) -> Any:
    """A new one, with dicts of its own: transformers changes those that it is given."""
    return getattr(transformers, f"{named(family)}Config")(**copy.deepcopy(FAMILIES[family]))


def changed(source: Path, folder: Path, **fields: Any) -> dict[str, Any]:
    """The same weights under another config.json; NEVER: without the field. "decoder.x" is x of the decoder's own."""
    folder.mkdir(exist_ok=True)
    if not (folder / "model.safetensors").exists():
        (folder / "model.safetensors").symlink_to(source / "model.safetensors")
    values = json.loads((source / "config.json").read_text())
    for field, value in fields.items():
        side, _, name = field.rpartition(".")
        inner = values[side] if side else values
        inner[name] = value
        if value is NEVER:
            del inner[name]
    (folder / "config.json").write_text(json.dumps(values))
    return values


LAYOUTS = {"padded": packed([14], [7]), "alone": packed([14])}


@torch.no_grad()
def theirs(folder: Path, values: dict[str, Any]) -> list[torch.Tensor] | None:
    """Logits at every real token, padded and alone; None: transformers does not load or run it."""
    try:
        model = getattr(transformers, values["architectures"][0]).from_pretrained(folder).eval()
        found = []
        for layout in LAYOUTS.values():
            pad = values.get("pad_token_id")
            tokens = torch.where(layout.real, random_tokens(layout, vocabulary=60), 1 if pad is None else pad)
            read = {"input_ids": tokens, "attention_mask": layout.real.long(), "use_cache": False}
            if model.config.is_encoder_decoder:
                read |= {"decoder_input_ids": tokens.flip(0), "decoder_attention_mask": read["attention_mask"].flip(0)}
                layout = layout.map(lambda column: column.flip(0))
            logits = model(**read, return_dict=True).logits
            found.append(logits[layout.real] if logits.dim() == 3 else logits)
        return found
    except Exception:  # noqa: BLE001 - transformers has no one kind of error for a config.json it does not take
        return None


@torch.no_grad()
def ours(folder: Path) -> list[torch.Tensor]:
    saved = read_saved(folder)
    model, answers = saved.model.eval(), saved.trained.only_head
    found = []
    for like in LAYOUTS.values():
        causal = saved.trained.faces == ("decoder",) or saved.trained.reads == "left to right"
        layout = packed(*([int(length)] for length in like.real.sum(1)), causal=causal)
        tokens = random_tokens(layout, vocabulary=60)
        if model.decoder is not None:  # which writes what the encoder read, its rows the other way round
            written = layout.map(lambda column: column.flip(0))
            batch = Batch(tokens.flip(0), replace(written, step=written.position + 1), (), SourceTokens(tokens, layout))
            found.append(model(batch)[written.real])
            continue
        hidden = model.backbone(tokens, layout, ordered.dense(layout))
        if answers is None:
            found.append(model.logits(hidden)[layout.real])
            continue
        at = layout.real.flatten().nonzero()[:, 0]
        if answers.head == "label":
            starts = torch.arange(len(tokens)) * tokens.shape[1]
            at = torch.stack([starts, starts + layout.real.sum(1) - 1], dim=1)
        found.append(logits_at(model, answers.name, hidden.flatten(0, 1), at))
    return found


def wrong(folder: Path, values: dict[str, Any], field: str) -> str | None:
    """None where our logits are transformers', or the folder is refused by the field's name."""
    try:
        found = ours(folder)
    except ModelError as error:
        return None if field in str(error) else f"refused without its name: {error}"
    expected = theirs(folder, values)
    if expected is None:
        return None if field in NOT_THEIRS else "transformers does not take it, and we do"
    off = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True))
    return None if off <= 1e-4 else f"the logits are off by {off:.2g} of the largest"


def tries(family: str, head: str) -> Iterator[tuple[str, Any]]:
    """(a field, a value that it does not have)."""
    known, own = declared(family), FAMILIES[family]
    ours = family_of(json.loads(configuration_of(family).to_json_string()))
    read = {*ours.fields.values(), *ours.computed.values(), *ours.silent, *ours.only, *READ_BY_HEADS, "rope_parameters"}
    every = {
        field: (*CHANGED[last(field)], *((None, NEVER) if field in read else ())) for field in known - EXEMPT.keys()
    }
    every |= {field: values for field, values in UNDECLARED.items() if field not in known}
    for field in sorted(every if head == "words" else every.keys() & READ_BY_HEADS):
        side, _, name = field.rpartition(".")
        mine = own[side] if side else own
        yield from ((field, value) for value in every[field] if value != mine.get(name, NEVER))


def last(field: str) -> str:
    return field.rpartition(".")[2]


def declared(family: str) -> set[str]:
    kind = getattr(transformers, f"{named(family)}Config")
    found = {field.name for field in dataclasses.fields(kind)}
    for side, inner in getattr(kind, "sub_configs_defaults", {}).items():
        found -= {side}
        fields = {field.name for field in dataclasses.fields(inner.config_class)} - {field.name for field in INHERITED}
        found |= {f"{side}.{name}" for name in fields}
    return found


@pytest.mark.parametrize(("family", "head"), CASES)
def test_every_field_is_computed_or_refused(family: str, head: str, folders: Made, tmp_path: Path) -> None:
    source = folders[family, head]
    assert wrong(source, json.loads((source / "config.json").read_text()), "-") is None and ours(source)
    found = {}
    for field, value in tries(family, head):
        values = changed(source, tmp_path / "changed", **{field: value})
        if (what := wrong(tmp_path / "changed", values, field)) is not None:
            found[field, "absent" if value is NEVER else json.dumps(value)] = what
    assert not found, "\n".join(map(str, found.items()))


@pytest.mark.parametrize("rope", [YARN, LLAMA_3], ids=["yarn", "llama3"])
def test_a_length_beside_rotary_positions_wins(rope: dict[str, Any], folders: Made, tmp_path: Path) -> None:
    told = {"rope_parameters": {"rope_theta": 50.0, **rope}, "original_max_position_embeddings": 4096}
    values = changed(folders["Llama", "words"], tmp_path / "both", **told)
    assert wrong(tmp_path / "both", values, "-") is None and ours(tmp_path / "both")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_field_that_transformers_reads_is_known(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own classes, and what they ask of a configuration that may have it: a sliding window of Llama."""
    configuration, plain = configuration_of(family), transformers.PreTrainedConfig.__getattribute__
    kind, asked = type(configuration), set()

    def noted(self: Any, name: str) -> Any:
        asked.add(name)
        return plain(self, name)

    monkeypatch.setattr(transformers.PreTrainedConfig, "__getattribute__", noted)
    layout = LAYOUTS["padded"]
    for head in (head for one, head in CASES if one == family):
        name = f"{named(family)}{WORDS[family] if head == 'words' else f'For{head}'}"
        model = getattr(transformers, name)(configuration).eval()
        tokens = random_tokens(layout, vocabulary=60)
        also = {"decoder_input_ids": tokens} if family in TWO_SIDED else {}
        model(input_ids=tokens, attention_mask=layout.real.long(), use_cache=False, **also)
    read = {name for name in asked if not name.startswith("_") and not callable(getattr(kind, name, None))}
    known = {*map(last, declared(family))}
    assert read <= known | UNDECLARED.keys() | HARMLESS.keys() | {"encoder", "decoder"}
    assert known <= CHANGED.keys() | EXEMPT.keys()
