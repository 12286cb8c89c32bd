"""BART (Lewis et al. 2020): blocks as BERT's, in an encoder-decoder; and its decoder alone."""

from __future__ import annotations

from dataclasses import replace

from bothways.model.config import CLASSIC
from bothways.model.huggingface.family import BOTH_SIDES, UNUSUAL, Family, Names

BLOCK: Names = {
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.out": "self_attn.out_proj",
    "attention_norm": "self_attn_layer_norm",
    "up": "fc1",
    "down": "fc2",
    "feed_forward_norm": "final_layer_norm",
}
ACROSS: Names = {
    "cross_attention.q": "encoder_attn.q_proj",
    "cross_attention.kv": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "cross_attention.out": "encoder_attn.out_proj",
    "cross_attention_norm": "encoder_attn_layer_norm",
}
TABLE = "model.shared"
PARTS = {**CLASSIC, "norm": {**CLASSIC["norm"], "epsilon": 1e-5}}

BART = Family(
    model_type="bart",
    known="BART, DistilBART, Chinese BART; what Bothways trains of the classic shape to write text from text",
    parts={**PARTS, "decoder": {"layers": 1}},
    fields={
        "vocabulary": "vocab_size",
        "layers": "encoder_layers",
        "decoder.layers": "decoder_layers",
        "width": "d_model",
        "heads": "encoder_attention_heads",
        "inner": "encoder_ffn_dim",
        "length": "max_position_embeddings",
        "dropout": "dropout",
        "init": "init_std",
        "scaled_embeddings": "scale_embedding",
    },
    same={"decoder_ffn_dim": "encoder_ffn_dim", "decoder_attention_heads": "encoder_attention_heads"},
    aliases={
        "num_attention_heads": "encoder_attention_heads",
        "hidden_size": "d_model",
        "num_hidden_layers": "encoder_layers",
    },
    silent={
        "dropout": 0.1,
        "init_std": 0.02,
        "scale_embedding": False,
        "activation_function": "gelu",
        "tie_word_embeddings": True,
        "is_encoder_decoder": True,
        "is_decoder": False,
        "is_causal": True,  # of the decoder
        "decoder_layers": 12,
        "decoder_ffn_dim": 4096,
        "encoder_ffn_dim": 4096,
        "decoder_attention_heads": 16,
        "encoder_attention_heads": 16,
    },
    only=UNUSUAL
    | {
        "activation_function": ("gelu",),
        "tie_word_embeddings": (True,),
        "is_encoder_decoder": (True,),
        "is_decoder": (False,),
        "is_causal": (True,),
    },
    write=lambda config: {
        "activation_function": "gelu",
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "is_encoder_decoder": True,
        "forced_eos_token_id": None,
        "normalize_before": False,  # what CTranslate2 asks
    },
    direction=("is_decoder", False),
    word_heads=("tied",),
    classes={"seq2seq": "BartForConditionalGeneration"},
    prefix="model.",
    modules={
        "backbone.embeddings.tokens": TABLE,
        "backbone.embeddings.positions": "model.encoder.embed_positions",
        "backbone.embeddings.norm": "model.encoder.layernorm_embedding",
        "decoder.embeddings.positions": "model.decoder.embed_positions",
        "decoder.embeddings.norm": "model.decoder.layernorm_embedding",
    },
    blocks="model.encoder.layers",
    block=BLOCK,
    decoder_blocks="model.decoder.layers",
    decoder_block=BLOCK | ACROSS,
    tied=dict.fromkeys(
        ("lm_head.weight", *(f"model.{side}.embed_tokens.weight" for side in BOTH_SIDES)), f"{TABLE}.weight"
    ),
    constant={"final_logits_bias": 0.0},
    ignored=(r"(encoder|decoder)\.embed_tokens\.weight",),
    positions=2,
    counted=False,
)

_ALONE = {name: name.replace("encoder", "decoder") for name in BART.fields.values()}

BART_DECODER = replace(
    BART,
    part="decoder",
    known="the decoder of any of these",
    parts=PARTS,
    fields={ours: _ALONE[theirs] for ours, theirs in BART.fields.items() if ours != "decoder.layers"},
    same={},
    aliases={"hidden_size": "d_model"},
    only={**BART.only, "is_encoder_decoder": (False,), "is_decoder": (True,)},
    # Its cache counts the layers of an encoder.
    write=lambda config: BART.write(config) | {"is_encoder_decoder": False, "encoder_layers": config.layers},
    classes={"decoder": "BartForCausalLM"},
    prefix="model.decoder.",
    modules={
        "backbone.embeddings.tokens": "model.decoder.embed_tokens",
        "backbone.embeddings.positions": "model.decoder.embed_positions",
        "backbone.embeddings.norm": "model.decoder.layernorm_embedding",
    },
    blocks="model.decoder.layers",
    decoder_blocks="",
    decoder_block={},
    tied={"lm_head.weight": "model.decoder.embed_tokens.weight"},
    ignored=(r"layers\.\d+\.encoder_attn",),  # of a source, which there is none of
)
