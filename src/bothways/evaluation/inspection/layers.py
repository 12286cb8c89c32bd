"""The states of many texts, a layer at a time: only one layer of them is ever in memory.

Letters: B rows, T tokens, D width, N words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bothways.batch import Reads
from bothways.inference.embed import STEPS
from bothways.inference.engine import Engine
from bothways.model.backbone import seen_by_blocks
from bothways.visibility import Layout


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
    network = engine.model.backbone
    batches = list(engine.batches([len(row) for row in words.rows]))
    laid: list[Layout] = []
    held: list[Tensor] = []
    for batch in batches:
        tokens, layout = engine.lay([words.rows[i] for i in batch], face="decoder")
        laid.append(replace(layout, step=STEPS[reads](layout.position)))
        held.append(network.embeddings(tokens, layout))
    yield _gathered(words, batches, held)
    for number, block in enumerate(network.blocks):
        for i, layout in enumerate(laid):
            mask, rotary = seen_by_blocks(network.config, held[i], layout, engine.model.rule.dense(layout))
            held[i] = block(held[i], mask=mask, rotary=rotary)
        last = number == len(network.blocks) - 1 and network.norm is not None
        yield _gathered(words, batches, [network.norm(x) for x in held] if last and network.norm else held)


def _gathered(words: WordStates, batches: Sequence[np.ndarray], held: Sequence[Tensor]) -> np.ndarray:
    found = np.empty((len(words.row), held[0].shape[-1]), dtype=np.float32)
    order = np.argsort(words.row, kind="stable")
    first = np.searchsorted(words.row[order], np.arange(len(words.rows) + 1))
    for batch, states in zip(batches, held, strict=True):
        for place, row in enumerate(batch.tolist()):
            mine = order[first[row] : first[row + 1]]
            if not len(mine):
                continue
            sums = np.concatenate([np.zeros((1, found.shape[1])), states[place].float().cpu().numpy().cumsum(0)])
            counts = (words.stop[mine] - words.start[mine])[:, None]
            found[mine] = (sums[words.stop[mine]] - sums[words.start[mine]]) / counts
    return found
