"""Micro-batches that do not fit into memory: the gradients of the step are forgotten, and it is done again in halves.

The loss of a step is one mean over all of its predictions, so it is the same however they are dealt out; what is drawn
for a micro-batch, dropout and ELECTRA's words, is drawn anew for its halves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from bothways.batch import Batch
from bothways.errors import MachineError
from bothways.machine import out_of_memory
from bothways.training.state import State

T = TypeVar("T")


def in_pieces(batch: Batch, pieces: int) -> list[Batch]:
    """A batch as so many, or as many as it has examples; one that nobody may part stays whole."""
    splitter = batch.splitter
    if splitter is None or min(pieces, len(splitter.examples)) < 2:
        return [batch]
    size = -(-len(splitter.examples) // pieces)
    made = (splitter.make(splitter.examples[i : i + size]) for i in range(0, len(splitter.examples), size))
    return [one.to(batch.tokens.device) for one in made if one.targets]


def fitting_in_memory(compute: Callable[[Sequence[Batch]], T], batches: Sequence[Batch], state: State) -> T:
    """What `compute` makes of the micro-batches, in as many pieces as fit; `state.pieces` remembers how many.

    Raises:
        MachineError: not even single examples fit, or gradients that cannot be forgotten.
    """
    while True:
        made = [piece for batch in batches for piece in in_pieces(batch, state.pieces)]
        try:
            return compute(made)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            why = str(error).strip().partition("\n")[0]
        # Out here nothing holds on to what was computed when memory ran out.
        state.weights.reset_gradients()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if all(len(one.splitter.examples) < 2 if one.splitter else True for one in made):
            raise MachineError(_too_large(made, why))
        state.pieces *= 2


def _too_large(made: Sequence[Batch], why: str) -> str:
    whole = max((one for one in made if one.splitter is None), key=lambda one: one.places, default=None)
    if whole is not None:
        rows, length = whole.tokens.shape
        said = f"{rows} rows of {length} tokens do not fit, and their loss is of all of them together: lower batch,"
    else:
        length = max(one.tokens.shape[1] for one in made)
        said = f"a single row of {length} tokens does not fit: lower length,"
    return f"out of memory: {said} or take a smaller model, or --set precision=bf16 where it is not ({why})"
