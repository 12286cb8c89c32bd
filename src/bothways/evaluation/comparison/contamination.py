"""Contamination: does the training text contain items that the models are measured on?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bothways.corpus import Shards
from bothways.corpus.exclude import Exclusion
from bothways.evaluation.comparison.eval_data import EvalData
from bothways.tasks import task_named
from bothways.tasks.reading import read_examples
from bothways.tasks.records import Skipped
from bothways.tasks.task import Example

TOKENS_AT_ONCE = 2**20


def contamination(eval_data: EvalData, shards: Shards) -> list[dict[str, Any]]:
    """For each group of items, how many training documents contain an item of it (`corpus.exclude` says when)."""
    groups: dict[str, list[str]] = {}
    if eval_data.pairs is not None:
        groups["minimal pairs"] = eval_data.pairs.good
    for name, (_, test) in eval_data.probes.items():
        groups[f"probe {name}, test side"] = _texts(test)
    for name, files in eval_data.tasks.items():
        _, examples = read_examples(task_named(files.task), files.test, skip=Skipped())
        groups[f"{name}, test side"] = _texts(examples)
    # Shards hold what the tokenizer leaves of a text (in small letters, without accents), so items are read by it, too.
    through = shards.tokenizer
    looked_for = {
        name: Exclusion(through.decode(through.encode(item)) for item in items) for name, items in groups.items()
    }
    found = dict.fromkeys(groups, 0)
    for text in _documents(shards) if groups else ():
        for name, items in looked_for.items():
            found[name] += items.contains(text)
    return [
        {"eval_data": name, "documents": found[name], "items": items.items, "too_short": items.too_short}
        for name, items in looked_for.items()
    ]


def _texts(examples: Sequence[Example]) -> list[str]:
    return [text for example in examples for text in example.texts if text]


def _documents(shards: Shards) -> Iterator[str]:
    """The training text, document by document."""
    rest = np.zeros(0, dtype=np.int32)
    for start in range(0, shards.train.token_count, TOKENS_AT_ONCE):
        tokens, _ = shards.train.read(start, min(start + TOKENS_AT_ONCE, shards.train.token_count))
        parts = np.split(joined := np.concatenate([rest, tokens]), np.flatnonzero(joined == shards.vocabulary.cls))
        *whole, rest = parts
        yield from (shards.tokenizer.decode(part.tolist()) for part in whole if len(part))
    yield shards.tokenizer.decode(rest.tolist())
