"""What Hugging Face calls our weights, one table for each shape, read both ways; and our special tokens.

One of our matrices may be several of theirs, laid one under the other (q, k and v).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bothways.batch import Vocabulary
from bothways.errors import ModelError
from bothways.model.config import ModelConfig

PREFIX = {
    "eurobert": "model.",
    "llama": "model.",
    "qwen3": "model.",
    "bert": "bert.",
    "electra": "electra.",
    "roberta": "roberta.",
    "xlm-roberta": "roberta.",
}
"""What stands before the names of the body in a model with a head; a body saved alone goes without."""

LLAMA_ANSWERS = "transformer."
"""What LlamaForQuestionAnswering has for "model."."""

ROBERTA_PAD = 1
ROBERTA_FIRST = ROBERTA_PAD + 1
"""The row of RoBERTa's position table that is the first token's: those before it are never read."""

_MODERN = {
    "backbone.embeddings.tokens": ("model.embed_tokens",),
    "backbone.norm": ("model.norm",),
    "words.untied": ("lm_head",),
    "heads.replaced.logit": ("difference",),  # of the classifier's two rows, see `_one_logit`
}
_MODERN_BLOCK = {
    "attention_norm": ("input_layernorm",),
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.query_norm": ("self_attn.q_norm",),
    "attention.key_norm": ("self_attn.k_norm",),
    "attention.out": ("self_attn.o_proj",),
    "feed_forward_norm": ("post_attention_layernorm",),
    "gate": ("mlp.gate_proj",),
    "up": ("mlp.up_proj",),
    "down": ("mlp.down_proj",),
}
_CLASSIC = {
    "backbone.embeddings.tokens": ("embeddings.word_embeddings",),
    "backbone.embeddings.positions": ("embeddings.position_embeddings",),
    "backbone.embeddings.segments": ("embeddings.token_type_embeddings",),
    "backbone.embeddings.norm": ("embeddings.LayerNorm",),
    "backbone.embeddings.project": ("embeddings_project",),
}
_CLASSIC_BLOCK = {
    "attention.qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.out": ("attention.output.dense",),
    "attention_norm": ("attention.output.LayerNorm",),
    "up": ("intermediate.dense",),
    "down": ("output.dense",),
    "feed_forward_norm": ("output.LayerNorm",),
}
_WORDS = {
    "bert": {
        "words.dense": ("cls.predictions.transform.dense",),
        "words.norm": ("cls.predictions.transform.LayerNorm",),
        "words": ("cls.predictions",),  # its bias alone
    },
    "roberta": {
        "words.dense": ("lm_head.dense",),
        "words.norm": ("lm_head.layer_norm",),
        "words": ("lm_head",),
    },
    "electra": {
        "words.dense": ("generator_predictions.dense",),
        "words.norm": ("generator_predictions.LayerNorm",),
        "words": ("generator_lm_head",),
        "heads.replaced.dense": ("discriminator_predictions.dense",),
        "heads.replaced.logit": ("discriminator_predictions.dense_prediction",),
    },
}
_LABEL = {"heads.label.dense": ("classifier.dense",), "heads.label.out": ("classifier.out_proj",)}
_ANSWERS = {
    "eurobert": {
        "heads.label.dense": ("dense",),
        "heads.label.out": ("classifier",),
        "heads.tags.out": ("classifier",),
        "heads.span.out": ("qa_outputs",),
    },
    "llama": {"heads.label.out": ("score",), "heads.tags.out": ("score",), "heads.span.out": ("qa_outputs",)},
    "qwen3": {"heads.label.out": ("score",), "heads.tags.out": ("score",), "heads.span.out": ("qa_outputs",)},
    "bert": {
        "heads.label.dense": ("bert.pooler.dense",),
        "heads.label.out": ("classifier",),
        "heads.tags.out": ("classifier",),
        "heads.span.out": ("qa_outputs",),
    },
    "electra": {**_LABEL, "heads.tags.out": ("classifier",), "heads.span.out": ("qa_outputs",)},
    "roberta": {**_LABEL, "heads.tags.out": ("classifier",), "heads.span.out": ("qa_outputs",)},
    "xlm-roberta": {**_LABEL, "heads.tags.out": ("classifier",), "heads.span.out": ("qa_outputs",)},
}
_TIED = {
    "model.": {"lm_head.weight": "model.embed_tokens.weight"},
    "bert.": {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    "roberta.": {
        "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    },
    "electra.": {"generator_lm_head.weight": "electra.embeddings.word_embeddings.weight"},
}
"""{tensor of a word head: the one that it is, where word embeddings are tied}, by prefix."""
# Tensors of a body that carry nothing we use: BERT's pooler is trained for next sentences, the others are constants.
_IGNORED = ("pooler.", "embeddings.position_ids", "rotary_emb.")


def _modules(kind: str, layers: int) -> dict[str, tuple[str, ...]]:
    """{our module: their modules} of a whole model of Hugging Face's `kind`."""
    prefix = PREFIX[kind]
    if prefix == "model.":
        outside, block, theirs = _MODERN, _MODERN_BLOCK, "model.layers"
    else:
        outside = {ours: (prefix + names[0],) for ours, names in _CLASSIC.items()} | _WORDS[prefix.rstrip(".")]
        block, theirs = _CLASSIC_BLOCK, f"{prefix}encoder.layer"
    inside = {
        f"backbone.blocks.{i}.{ours}": tuple(f"{theirs}.{i}.{name}" for name in names)
        for i in range(layers)
        for ours, names in block.items()
    }
    return outside | inside | _ANSWERS[kind]


def kind_of(config: ModelConfig) -> str:
    """Hugging Face's kind of a shape ("llama" is "eurobert" too, of equal names)."""
    if config.shape == "modern":
        return "qwen3" if config.head_norm else "llama"
    if config.embedding_width:  # ELECTRA's base and large have it too, equal to the width
        return "electra"
    return "roberta" if config.segments == 1 else "bert"


def text_ids(vocabulary: Vocabulary) -> dict[str, int | list[int]]:
    """With which tokens a text begins, ends and is padded, as config.json and generation_config.json have it."""
    ends = sorted(vocabulary.ends)
    pad = vocabulary.pad if vocabulary.pad >= 0 else vocabulary.sep
    said: dict[str, int | list[int]] = {
        "pad_token_id": pad,
        "bos_token_id": vocabulary.cls,
        "eos_token_id": ends[0] if len(ends) == 1 else ends,
    }
    return {key: value for key, value in said.items() if value not in (-1, [])}


def to_hugging_face(
    weights: Mapping[str, Tensor], *, config: ModelConfig, kind: str | None = None, head: str = "words"
) -> dict[str, Tensor]:
    """{our name: weight} -> {their name: float32 weight on the CPU}: the body's and those of one head.

    Args:
        kind: Hugging Face's model_type; left out, that of the shape.
        head: "words", or one of the model's heads.

    Raises:
        ModelError: a weight of the body that has no name there.
    """
    kind = kind or kind_of(config)
    modules = _modules(kind, config.layers)
    wanted = ("backbone.", "words." if head == "words" else f"heads.{head}.")
    result: dict[str, Tensor] = {}
    for name, weight in weights.items():
        module, _, field = name.rpartition(".")
        if not name.startswith(wanted):
            continue
        if module not in modules:
            raise ModelError(
                f"the {config.shape} shape cannot be saved with {name}: Hugging Face's has no place for it"
            )
        theirs, weight = modules[module], weight.detach().float().cpu()
        if module == "backbone.embeddings.positions" and PREFIX[kind] == "roberta.":
            weight = torch.cat([weight.new_zeros(ROBERTA_FIRST, weight.shape[1]), weight])
        widths = config.qkv_widths if len(theirs) == 3 else (len(weight),)
        for other, part in zip(theirs, weight.split(widths), strict=True):
            result[f"{other}.{field}"] = part.contiguous()
    if "difference.weight" in result:
        row = result.pop("difference.weight")
        result |= {"classifier.weight": torch.cat([torch.zeros_like(row), row]), "classifier.bias": torch.zeros(2)}
    if head == "span" and PREFIX[kind] == "model.":
        result = {name.replace("model.", LLAMA_ANSWERS, 1): weight for name, weight in result.items()}
    return result


def from_hugging_face_names(
    tensors: Mapping[str, Tensor], *, kind: str, wanted: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """{their name: tensor} -> {our name: float32 weight}, in the names and shapes of `wanted`.

    Heads that are not ours are left out; a tensor of the body that we have no place for is an error.

    Raises:
        ModelError: a tensor is missing, has another shape, or would be lost.
    """
    tensors = _one_logit(_modern_spelling(tensors, prefix=PREFIX[kind]))
    layers = 1 + max((int(name.split(".")[2]) for name in wanted if name.startswith("backbone.blocks.")), default=-1)
    modules = _modules(kind, layers)
    result: dict[str, Tensor] = {}
    used: set[str] = set()
    for name, like in wanted.items():
        module, _, field = name.rpartition(".")
        theirs = [f"{other}.{field}" for other in modules[module]]
        missing = [other for other in theirs if other not in tensors]
        if missing:
            raise ModelError(
                f"expected the tensor {missing[0]}, which is not there. Is config.json that of this model?"
            )
        weight = torch.cat([tensors[other] for other in theirs]).float()
        if module == "backbone.embeddings.positions" and PREFIX[kind] == "roberta.":
            weight = weight[ROBERTA_FIRST:]
        if weight.shape != like.shape:
            shape, others = list(tensors[theirs[0]].shape), "".join(f" and {other}" for other in theirs[1:])
            whole = f", {list(weight.shape)} with{others[4:]}" if others else ""
            raise ModelError(f"{theirs[0]} has shape {shape}{whole}; config.json says {list(like.shape)} for {name}")
        result[name] = weight
        used.update(theirs)
    _nothing_lost(tensors.keys() - used, prefix=PREFIX[kind])
    return result


def untied(tensors: Mapping[str, Tensor], *, kind: str) -> tuple[str, str] | None:
    """A tensor of the word head and the one that it should be if word embeddings are tied, where they differ."""
    tensors = _modern_spelling(tensors, prefix=PREFIX[kind])
    for name, same in _TIED[PREFIX[kind]].items():
        if name in tensors and same in tensors and not torch.equal(tensors[name], tensors[same]):
            return name, same
    return None


def head_among(tensors: Mapping[str, Tensor], *, kind: str, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those weights of a head, in our names, that are there in the shapes of `wanted`."""
    tensors, modules = _modern_spelling(tensors, prefix=PREFIX[kind]), _modules(kind, 0)
    result = {}
    for name, like in wanted.items():
        module, _, field = name.rpartition(".")
        found = tensors.get(f"{modules[module][0]}.{field}")
        if found is not None and found.shape == like.shape:
            result[name] = found.float()
    return result


def _modern_spelling(tensors: Mapping[str, Tensor], *, prefix: str) -> dict[str, Tensor]:
    """The body's prefix where it is left out; weight and bias of a norm where they are gamma and beta, as of old."""
    if prefix == "model." and any(name.startswith(LLAMA_ANSWERS) for name in tensors):
        tensors = {name.replace(LLAMA_ANSWERS, prefix, 1): tensor for name, tensor in tensors.items()}
    bare = not any(name.startswith(prefix) for name in tensors)
    spelt = {}
    for name, tensor in tensors.items():
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        spelt[prefix + name if bare else name] = tensor
    return spelt


def _one_logit(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A classifier of two rows as the difference between them: what a detector says."""
    rows = tensors.get("classifier.weight")
    return tensors if rows is None or len(rows) != 2 else {**tensors, "difference.weight": rows[1:] - rows[:1]}


def _nothing_lost(unread: set[str], *, prefix: str) -> None:
    ignored = tuple(prefix + name for name in _IGNORED)
    lost = sorted(
        name
        for name in unread
        if name.startswith(prefix) and not name.startswith(ignored) and not name.endswith("rotary_emb.inv_freq")
    )
    if lost:
        raise ModelError(f"the body holds {lost[0]}, which this shape has no place for ({len(lost)} such tensors)")
