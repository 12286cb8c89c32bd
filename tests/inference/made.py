"""Runs made in a moment: a tokenizer of a few hundred pieces and random weights, large enough to have opinions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch

import bothways
from bothways.inference import Loaded
from bothways.model import Card, Model, ModelConfig, Trained, save_faces
from bothways.model.heads import HEADS
from bothways.text import Tokenizer, train_tokenizer

ENGLISH = (
    "The quick brown fox jumps over the lazy dog. Reading is seeing with another's eyes; once upon a time nobody read.",
    "A small model learns unbelievably little from so few sentences, and that is quite enough for these tests.",
)
CHINESE = ("今天天气很好，我们去公园散步。", "从前有一座山，山上有一座庙。")
TEXTS = (*ENGLISH, *CHINESE, "naïve café 🙂")

HYBRID = Trained("hybrid", ("encoder", "decoder"), "in place")
CAUSAL = Trained("causal", ("decoder",), None)
MLM = Trained("mlm", ("encoder",), "in place")
GPT_BERT = Trained("gpt-bert", ("decoder",), "before")
REVERSED = Trained("reversed", (), None)


@cache
def tokenizer(kind: str = "bpe") -> Tokenizer:
    return train_tokenizer(TEXTS * 4, kind=kind, size=400)


def make_run(
    folder: Path,
    trained: Trained = HYBRID,
    *,
    kind: str = "bpe",
    seed: int = 0,
    length: int = 64,
    heads: Sequence[str] = (),
) -> Path:
    """A run folder as pretraining leaves it."""
    own = tokenizer(kind)
    config = ModelConfig(
        vocabulary=own.vocabulary.size, layers=2, width=64, heads=2, inner=128, length=length, init=0.15
    )
    model = Model(config, seed=seed, heads={name: HEADS[name] for name in heads})
    save_faces(
        folder,
        weights=model.state_dict(),
        config=config,
        vocabulary=own.vocabulary,
        trained=trained,
        save_tokenizer=lambda path, template: own.save(path, template=template, length=length),
        card=Card(folder.name, trained, config, model.parameter_count(), "made for a test"),
    )
    return folder


def load(folder: Path) -> Loaded:
    return bothways.load(folder, device="cpu", dtype=torch.float32)
