"""Runs made in a moment: a tokenizer of a few hundred tokens and random weights, large enough to have opinions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

import bothways
from bothways.inference import Generation, LanguageModel
from bothways.model import Abilities, Card, Model, ModelConfig, save_faces
from bothways.model.config import WITH_DECODER
from bothways.model.heads import HEADS
from bothways.text import Tokenizer, train_tokenizer

ENGLISH = (
    "The quick brown fox jumps over the lazy dog. Reading is seeing with another's eyes; once upon a time nobody read.",
    "A small model learns unbelievably little from so few sentences, and that is quite enough for these tests.",
)
CHINESE = ("今天天气很好，我们去公园散步。", "从前有一座山，山上有一座庙。")
TEXTS = (*ENGLISH, *CHINESE, "naïve café 🙂")

HYBRID = Abilities("hybrid", ("encoder", "decoder"), "in place")
CAUSAL = Abilities("causal", ("decoder",), None)
SEQ2SEQ = Abilities("seq2seq", (), None, {"seq2seq": 0}, "all sides")
MLM = Abilities("mlm", ("encoder",), "in place")
GPT_BERT = Abilities("gpt-bert", ("decoder",), "before")
REVERSED = Abilities("reversed", (), None, {"backward": 0}, reads="right to left")
ELMO = Abilities("elmo", (), None, reads="both directions")
MASS = Abilities("mass", (), None, {"fragment": 0}, reads="all sides")
ANY_ORDER = Abilities("any-order", (), None, {"unmask": 0, "any-order": 0})
BANG = Abilities("bang", (), None, {"streams": 4}, reads="all sides", rule="(ordered & (text_key | ~ahead))")
PREFIX = Abilities("prefix", ("decoder",), None, {"prefix": 0})
UNILM1 = Abilities("unilm1", ("encoder",), "in place", {"append-mask": 0})
UNILM2 = Abilities("unilm2", ("encoder",), "in place", {"pseudo-mask": 0})
DIFFUSION = Abilities("masked-diffusion", ("encoder",), "in place", {"unmask": 0})
BLOCKS = Abilities("block-diffusion", (), None, {"blocks": 8})


@cache
def tokenizer(kind: str = "bpe") -> Tokenizer:
    return train_tokenizer(TEXTS * 4, kind=kind, size=400)


@cache
def letters(folder: Path) -> Tokenizer:
    """Three words and the special tokens: so few that everything that can be written can be listed."""
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\n")
    return Tokenizer.load(folder / "vocab.txt")


def make_run(
    folder: Path,
    trained: Abilities = HYBRID,
    *,
    kind: str = "bpe",
    seed: int = 0,
    length: int = 64,
    heads: Sequence[str] = (),
    classic: bool = False,
    segments: int = 6,
    own: Tokenizer | None = None,
    decoder: int = 0,
) -> Path:
    """A run folder as pretraining leaves it; `own` is its tokenizer, else one of the `kind`; `decoder`: its layers."""
    folder.mkdir(parents=True, exist_ok=True)
    own = own or (letters(folder) if kind == "letters" else tokenizer(kind))
    more: dict[str, Any] = {"shape": "classic" if classic else "modern"}
    if decoder:
        more |= {**WITH_DECODER[more["shape"]], "decoder": {"layers": decoder}}
    elif classic:
        more |= {"segments": segments, "word_head": "transformed"}
    sizes = {"layers": 2, "width": 64, "heads": 2, "inner": 128, "length": length}
    config = ModelConfig(vocabulary=own.vocabulary.size, **sizes, init=0.15, **more)
    model = Model(config, seed=seed, heads={name: HEADS[name] for name in heads})
    save_faces(
        folder,
        weights=model.state_dict(),
        config=config,
        vocabulary=own.vocabulary,
        trained=trained,
        save_tokenizer=lambda path, template: own.save(
            path, template=template, length=length, segments=config.segments > 1
        ),
        card=Card(folder.name, trained, config, model.parameter_count(), "made for a test"),
    )
    return folder


def full_text(model: LanguageModel, prompts: Any, **options: Any) -> Any:
    """Prompts with what `generate` gives."""
    found = model.generate(prompts, **options)
    return found.full_text if isinstance(found, Generation) else [one.full_text for one in found]


def load(folder: Path) -> LanguageModel:
    return bothways.load(folder, device="cpu", dtype=torch.float32)
