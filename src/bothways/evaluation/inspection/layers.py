"""The states of many texts, a layer at a time: only one layer of them is ever in memory.

Letters: B rows, T tokens, D width, N words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bothways.batch import Reads
from bothways.inference.embed import STEPS
from bothways.inference.engine import Engine
from bothways.model.passing import Pass


@dataclass(frozen=True, slots=True)
class WordStates:
    """The words of some texts, in order.

    name   what each is: its tokens, joined, and the space before it if they hold it
    text   [N] the number of its text
    row    [N] the row that it stands in
    start  [N] its first place there
    stop   [N] behind its last
    rows   the tokens of every row, specials included
    unknown  words left out, for a token that the tokenizer does not know
    """

    name: list[str]
    text: np.ndarray
    row: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    rows: list[np.ndarray]
    unknown: int = 0


def words_of(engine: Engine, texts: Sequence[str], reads: Reads) -> WordStates:
    """Words as the tokenizer tells them apart; specials are none. Unknown tokens are left out."""
    rows, text_of = engine.rows(texts, closed=reads != "left to right")
    vocabulary, found, unknown = engine.tokenizer.vocabulary, [], 0
    special = np.array(sorted(vocabulary.special))
    for number, row in enumerate(rows):
        starts = np.flatnonzero(engine.tokenizer.word_starts(row))
        for start, stop in zip(starts, [*starts[1:], len(row)], strict=True):
            unknown += vocabulary.unk in row[start:stop]
            if not np.isin(row[start:stop], special).any():
                found.append((number, start, stop))
    places = np.array(found, dtype=np.int64).reshape(-1, 3)
    names = [engine.tokenizer.decode(rows[r][a:b].tolist()) for r, a, b in found]
    return WordStates(names, text_of[places[:, 0]], places[:, 0], places[:, 1], places[:, 2], rows, unknown)


@torch.inference_mode()
def states_by_layer(engine: Engine, words: WordStates, reads: Reads) -> Iterator[np.ndarray]:
    """float32 [N, D] of every word, the mean of its tokens: after the embeddings, then after every block."""
    backbone, batches = engine.model.backbone, list(engine.batches([len(row) for row in words.rows]))
    passes: list[Iterator[Tensor]] = []
    for batch in batches:
        tokens, layout = engine.collate([words.rows[i] for i in batch], face="decoder")
        layout = replace(layout, step=STEPS[reads](layout.position))
        given = Pass(layout, engine.model.rule.dense(layout))
        passes.append(map(engine.finite, backbone.states(backbone.embeddings(tokens, layout), given)))
    for _ in range(engine.model.config.layers + 1):
        yield _gathered(words, batches, map(next, passes), engine.model.config.width)


def _gathered(words: WordStates, batches: Sequence[np.ndarray], layer: Iterable[Tensor], width: int) -> np.ndarray:
    found = np.empty((len(words.row), width), dtype=np.float32)
    order = np.argsort(words.row, kind="stable")
    first = np.searchsorted(words.row[order], np.arange(len(words.rows) + 1))
    for batch, states in zip(batches, layer, strict=True):
        for place, row in enumerate(batch.tolist()):
            mine = order[first[row] : first[row + 1]]
            if not len(mine):
                continue
            sums = np.concatenate([np.zeros((1, found.shape[1])), states[place].float().cpu().numpy().cumsum(0)])
            counts = (words.stop[mine] - words.start[mine])[:, None]
            found[mine] = (sums[words.stop[mine]] - sums[words.start[mine]]) / counts
    return found
