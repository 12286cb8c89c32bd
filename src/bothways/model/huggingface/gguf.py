"""A GGUF file as a model of Hugging Face: its metadata as a config.json, its tensors under transformers' names.

What the metadata says of a network and is not computed is refused by name, as in a config.json.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bothways.gguf import GgufFile

ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
"""{general.architecture: transformers' class}; Mistral's files call themselves llama, whose network it is"""
TURNED = ("llama",)
"""Those whose rows of q and k llama.cpp lays two and two, since it turns neighbours; transformers turns halves."""

_FIELDS = {
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "context_length": "max_position_embeddings",
}
_TENSORS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_READ = {
    *_FIELDS,
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "rope.freq_base",
    "rope.dimension_count",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.finetuned",  # says how it came about
    "vocab_size",
    "tensor_data_layout",  # of files from before q and k were always laid two and two
}
_NONE = {"expert_count": 0, "expert_used_count": 0, "attention.causal": True, "pooling_type": 0}
"""{field: the one value of it that is computed}"""
_ROPE = "rope_freqs.weight"
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""Of Llama 3.1 to 3.3, whose files hold the divisors of the angles that follow from them."""


def values_of(file: GgufFile) -> dict[str, Any]:
    """The config.json of a file's model.

    Raises:
        ModelError: another kind of model, a value that is not computed, or tensors of other sizes than it says.
    """
    kind = file.need("general.architecture", str)
    if kind not in ARCHITECTURES:
        file.refuse(f"general.architecture is {kind}; of GGUF files Bothways loads {', '.join(ARCHITECTURES)}")
    _understood(file, kind)
    values = {theirs: file.need(f"{kind}.{field}", int) for field, theirs in _FIELDS.items()}
    heads, width = values["num_attention_heads"], values["hidden_size"]
    if min(values.values()) < 1:
        file.refuse(f"expected sizes above 0, got {values}")
    head_dim = file.get(f"{kind}.attention.key_length", int, width // heads)
    for name in ("attention.value_length", "rope.dimension_count"):
        if file.get(f"{kind}.{name}", int, head_dim) != head_dim:
            file.refuse(f"{kind}.{name} is {file.metadata[f'{kind}.{name}']}; Bothways has {head_dim}, a head's width")
    values |= {
        "model_type": kind,
        "architectures": [ARCHITECTURES[kind]],
        "num_key_value_heads": file.get(f"{kind}.attention.head_count_kv", int, heads),
        "head_dim": head_dim,
        "rms_norm_eps": file.need(f"{kind}.attention.layer_norm_rms_epsilon", float),
        "hidden_act": "silu",
        "rope_parameters": _rope(file, kind, head_dim),
        "tie_word_embeddings": "output.weight" not in file.tensors,
        **_ids(file),
    }
    _check_sizes(file, values)
    return values


def _understood(file: GgufFile, kind: str) -> None:
    layout = file.get(f"{kind}.tensor_data_layout", str, "Meta AI original pth")
    if layout != "Meta AI original pth":
        file.refuse(f"{kind}.tensor_data_layout is {layout!r}, and is not read here")
    for name, value in file.metadata.items():
        field = name.removeprefix(f"{kind}.")
        if field == name or field in _READ:
            continue
        if field not in _NONE or value != _NONE[field]:
            file.refuse(f"{name} is {str(value)[:60]!r}, which is not implemented here for models of {kind}")


def _rope(file: GgufFile, kind: str, head_dim: int) -> dict[str, Any]:
    base = file.get(f"{kind}.rope.freq_base", float, 10_000.0)
    found: dict[str, Any] = {"rope_theta": base, "rope_type": "default"}
    scaling = file.get(f"{kind}.rope.scaling.type", str, "none")
    if scaling not in ("none", "linear", "yarn"):
        file.refuse(f"{kind}.rope.scaling.type is {scaling!r}; Bothways loads none, linear and yarn")
    if scaling != "none":
        found |= {"rope_type": scaling, "factor": file.need(f"{kind}.rope.scaling.factor", float)}
    if scaling == "yarn":
        length = file.need(f"{kind}.rope.scaling.original_context_length", int)
        fast, slow = (file.get(f"{kind}.rope.scaling.yarn_beta_{one}", float) for one in ("fast", "slow"))
        found |= {"original_max_position_embeddings": length, "beta_fast": fast, "beta_slow": slow}
    if _ROPE in file.tensors:
        if file.tensors[_ROPE].shape != (head_dim // 2,) or scaling != "none":
            file.refuse(f"{_ROPE}: expected {head_dim // 2} divisors of angles, and no rope.scaling beside them")
        found |= _llama3(file, base)
    return found


def _llama3(file: GgufFile, base: float) -> dict[str, Any]:
    """The scaling that gives the divisors in a file (Llama 3.1: Dubey et al. 2024, section 3.4.2, as transformers
    computes it).

    Raises:
        ModelError: they follow from none that is known.
    """
    divisors = file.array(_ROPE).astype(np.float64)  # [head width / 2]
    factor, (low, high, length) = float(divisors.max()), _LLAMA3.values()
    turns = length / (2 * math.pi * base ** (np.arange(len(divisors)) / len(divisors)))
    share = np.clip((turns - low) / (high - low), 0, 1)
    expected = 1 / (share + (1 - share) / factor) if factor > 0 else divisors + 1
    if not np.allclose(divisors, expected, rtol=1e-3):
        file.refuse(f"{_ROPE} holds divisors of angles that are not those of Llama 3: it is not implemented here")
    return {"rope_type": "llama3", "factor": round(factor, 3), **_LLAMA3}


def _ids(file: GgufFile) -> dict[str, Any]:
    """As `text.gguf` names them, too: with what a text begins, and with what it ends."""
    begin = file.get("tokenizer.ggml.bos_token_id", int)
    ends = [file.get(f"tokenizer.ggml.{one}_token_id", int) for one in ("eos", "eot", "eom")]
    known = [*dict.fromkeys(number for number in ends if number is not None)]
    return ({} if begin is None else {"bos_token_id": begin}) | ({"eos_token_id": known} if known else {})


def _check_sizes(file: GgufFile, values: dict[str, Any]) -> None:
    """That the tensors have the sizes that the metadata gives, before memory is taken for a model of these sizes; adds
    the size of the vocabulary."""
    table = file.tensors.get("token_embd.weight")
    if table is None or len(table.shape) != 2:
        file.refuse("expected the table token_embd.weight, got none. Is it the whole of a model?")
    values["vocab_size"] = table.shape[0]
    width, head, layers = (values[name] for name in ("hidden_size", "head_dim", "num_hidden_layers"))
    expected = {"token_embd": (table.shape[0], width), "output_norm": (width,)}
    for number in range(min(layers, len(file.tensors))):
        block = {
            "attn_q": (values["num_attention_heads"] * head, width),
            "attn_k": (values["num_key_value_heads"] * head, width),
            "attn_v": (values["num_key_value_heads"] * head, width),
            "attn_output": (width, values["num_attention_heads"] * head),
            **dict.fromkeys(("ffn_gate", "ffn_up"), (values["intermediate_size"], width)),
            "ffn_down": (width, values["intermediate_size"]),
        }
        expected |= {f"blk.{number}.{name}": shape for name, shape in block.items()}
    for name, shape in expected.items():
        found = file.tensors.get(f"{name}.weight")
        if found is None or found.shape != shape:
            got = "none" if found is None else list(found.shape)
            file.refuse(f"expected {name}.weight of shape {list(shape)}, as its metadata says, got {got}")
    if layers > len(file.tensors):
        file.refuse(f"expected {layers:,} blocks, as its metadata says, got fewer tensors than that")


def tensors_of(file: GgufFile, values: dict[str, Any]) -> dict[str, Tensor]:
    """{transformers' name: float32 tensor}; `values` are those of `values_of`.

    Raises:
        ModelError: a tensor that this kind of model has not, or of a quantisation that is not undone.
    """
    heads = {"attn_q": values["num_attention_heads"], "attn_k": values["num_key_value_heads"]}
    found = {}
    for name in file.tensors:
        match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)", name)
        block, module, field = match.groups() if match else (None, name, "")
        theirs = (_BLOCK if block else _TENSORS).get(module)
        if name == _ROPE:
            continue
        if theirs is None:
            file.refuse(f"it holds {name}, which models of {values['model_type']} have no place for here")
        tensor = torch.from_numpy(file.array(name))
        if module in heads and values["model_type"] in TURNED:
            tensor = halves(tensor, heads[module])
        found[f"model.layers.{block}.{theirs}.{field}" if block else f"{theirs}.{field}"] = tensor
    return found


def halves(rows: Tensor, heads: int) -> Tensor:
    """The rows of q or k [heads * E, ...], of each head those of its first half before those of its second, where
    llama.cpp has them by turns."""
    pairs = rows.unflatten(0, (heads, -1, 2))  # [heads, E / 2, 2, ...]
    turned: Tensor = pairs.transpose(1, 2).reshape(rows.shape)
    return turned
