"""GGUF files of small models, written with the writer of llama.cpp's own `gguf` package."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf.quants import quantize
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NAMES = {  # llama.cpp's convert_hf_to_gguf.py, gguf.tensor_mapping
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def byte_level(texts: Iterable[str], rule: Any, *, size: int) -> Tokenizer:
    """A byte-level BPE whose words are cut by a rule, with the special tokens of a chat."""
    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [*rule.cut(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=rule.words)]
    )
    engine.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    engine.train_from_iterator(texts, trainer)
    return engine


def tokenizer_fields(engine: Tokenizer, *, pre: str) -> dict[str, Any]:
    """The metadata of a byte-level BPE."""
    vocabulary = engine.get_vocab(with_added_tokens=True)
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    special = {token.content for token in engine.get_added_tokens_decoder().values()}
    spec = json.loads(engine.to_str())
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3 if token in special else 1 for token in tokens],
        "tokenizer.ggml.merges": [" ".join(merge) for merge in spec["model"]["merges"]],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": CHATML,
    }


def piece_fields(texts: Iterable[str], *, size: int) -> dict[str, Any]:
    """The metadata of a SentencePiece BPE with bytes: its tokens in the order in which they were learned."""
    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.Metaspace()
    engine.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, show_progress=False))
    vocabulary = {token: number for token, number in engine.get_vocab().items() if token not in ("<s>", "</s>")}
    single = sorted((token for token in vocabulary if len(token) == 1), key=vocabulary.__getitem__)
    joined = sorted((token for token in vocabulary if len(token) > 1), key=vocabulary.__getitem__)
    first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens = [*first, *joined, *single]
    scores = [0.0] * len(first) + [-float(number) for number in range(len(joined) + len(single))]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": [2, 3, 3, *[6] * 256, *[1] * (len(tokens) - len(first))],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }


def model_fields(model: Any) -> dict[str, Any]:
    """The metadata of a model of transformers."""
    config, kind = model.config, model.config.model_type
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    fields = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": head,
        "attention.value_length": head,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.freq_base": config.rope_parameters["rope_theta"],
        "vocab_size": config.vocab_size,
        "rope.dimension_count": head,
    }
    return {"general.architecture": kind, **{f"{kind}.{name}": value for name, value in fields.items()}}


def tensors_of(model: Any) -> dict[str, np.ndarray]:
    """Its tensors under llama.cpp's names; rows of q and k of a Llama two and two, by the formula of its converter."""
    found = {}
    for name, tensor in model.state_dict().items():
        *block, module = name.removeprefix("model.layers.").split(".", 1) if "layers" in name else (name,)
        module, _, field = module.rpartition(".")
        theirs, array = NAMES[module], tensor.float().numpy()
        if model.config.model_type == "llama" and theirs in ("attn_q", "attn_k"):
            heads = model.config.num_attention_heads if theirs == "attn_q" else model.config.num_key_value_heads
            array = (
                array.reshape(heads, 2, len(array) // heads // 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)
            )
        if not (theirs == "output" and model.config.tie_word_embeddings):
            found[f"blk.{block[0]}.{theirs}.{field}" if block else f"{theirs}.{field}"] = array
    return found


def write(path: Path, fields: Mapping[str, Any], tensors: Mapping[str, np.ndarray], *, kind: Any = None) -> Path:
    """A file of metadata and tensors; matrices are quantised as `kind`, where one is given."""
    writer = gguf.GGUFWriter(path, str(fields.get("general.architecture", "llama")))
    for name, value in fields.items():
        if name == "general.architecture":
            continue
        if name == "general.alignment":
            writer.add_custom_alignment(value)
            continue
        types = {bool: "bool", int: "uint32", float: "float32", str: "string", list: "array"}
        getattr(writer, f"add_{types[type(value)]}")(name, value)
    for name, array in tensors.items():
        array = np.ascontiguousarray(array)
        if kind is not None and array.ndim == 2:
            writer.add_tensor(name, quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def random_model(kind: str, vocabulary: int, **changes: Any) -> Any:
    """A small Llama, Qwen2 or Qwen3 of transformers, with random weights, its norms too."""
    import transformers

    name = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}[kind]
    config = getattr(transformers, f"{name}Config")(
        **{
            "vocab_size": vocabulary,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": 128,
            "initializer_range": 0.2,
            "tie_word_embeddings": True,
            **changes,
        }
    )
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model
