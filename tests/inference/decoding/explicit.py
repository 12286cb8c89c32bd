"""The slow way: a text laid out as its objective lays it in training, read anew for every token, without a cache."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from bothways.batch import Row
from bothways.inference import LanguageModel
from bothways.inference.decoding.sequence import detokenize
from bothways.objectives import Corrupted, Objective, causal, prefix, unilm1
from bothways.visibility import Layout, ordered


def objective_of(found: LanguageModel, way: str) -> Objective:
    vocabulary = found.engine.tokenizer.vocabulary
    if way == "append-mask":
        return next(leaf for leaf, _ in unilm1(vocabulary).leaves() if leaf.name == "seq2seq")
    return {"prefix": prefix, "pseudo-mask": prefix, "decoder": causal}[way](vocabulary)


@torch.no_grad()
def next_logits(found: LanguageModel, way: str, prompt: Sequence[int], new: Sequence[int]) -> torch.Tensor:
    """Logits [V] of what comes after [CLS] prompt | new, under the arrangement of the objective itself."""
    vocabulary = found.engine.tokenizer.vocabulary
    tokens = np.array([vocabulary.cls, *prompt, *new, *([vocabulary.mask] if way.endswith("mask") else [])])
    flat = np.zeros(len(tokens), dtype=np.int32)
    part = (np.arange(len(tokens)) > len(prompt)).astype(np.int32)
    row = Row(tokens.astype(np.int32), flat, flat == 0)
    layout = objective_of(found, way).arrange(Corrupted(row, row.tokens, flat == 0, part))
    states = found.engine.model.backbone(
        torch.from_numpy(tokens)[None], Layout.stack([layout]), ordered.dense(Layout.stack([layout]))
    )
    return found.engine.model.logits(states[0, -1])


def allowed(found: LanguageModel, logits: torch.Tensor) -> torch.Tensor:
    """Without the special tokens but [SEP]."""
    vocabulary = found.engine.tokenizer.vocabulary
    logits = logits.clone()
    logits[sorted(vocabulary.special - {vocabulary.sep})] = -torch.inf
    return logits


def greedy(found: LanguageModel, way: str, prompt: str, count: int) -> str:
    own = found.engine.tokenizer
    begun, new = own.encode(prompt), list[int]()
    for _ in range(count):
        token = int(allowed(found, next_logits(found, way, begun, new)).argmax())
        if token == own.vocabulary.sep:
            break
        new.append(token)
    return prompt + detokenize(own, begun, new)
