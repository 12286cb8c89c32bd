"""CBOW with negative sampling: one embedding bag, and its gradient in closed form.

Mikolov et al. 2013a, "Efficient estimation of word representations in vector space", section 3.1; negative sampling
after Mikolov et al. 2013b, section 2.2. With x the input vectors, u the output vectors, c the places in the window of
a word w, and K negatives n that stand for k of them:

    h     = sum over j in c of x_j, divided by |c|
    loss  = - log s(u_w . h) - k/K sum over n of log s(- u_n . h)              s is the logistic function
    dh    = (s(u_w . h) - 1) u_w + k/K sum over n of s(u_n . h) u_n
    du_w  = (s(u_w . h) - 1) h      du_n = k/K s(u_n . h) h      dx_j = dh / |c|

word2vec.c and gensim leave out the last division, so that an input vector gets |c| times its gradient; Irsoy, Benton &
Stratos 2021, "Corrected CBOW performs as well as skip-gram". `divided=False` does the same.

Two things differ from word2vec.c, for speed: a step is taken for a batch of words together, and the words of a block
share their negatives, so that these are matrix products (Ji et al. 2016, "Parallelizing word2vec in shared and
distributed memory"). A negative that is the word itself is skipped, as there.

Letters: N words in a batch, B blocks of them, K negatives of a block, V words of the vocabulary, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from bothways.word_vectors.batches import CbowBatch
from bothways.word_vectors.sampling import Bags

MOST = 2.0
"""How far a row may move in a step: learning rate times moves. With 4, a text of 36 words diverged."""


@dataclass(frozen=True, slots=True)
class Gradients:
    """Of the loss summed over a batch: a row [D] a place, to be added to the word that stands there."""

    inputs: torch.Tensor  # [N, D]
    outputs: torch.Tensor  # [N, D]
    negatives: torch.Tensor  # [B, K, D]


@dataclass(frozen=True, slots=True)
class Cbow:
    """The two tables: input vectors, which are the result, and output vectors.

    inputs   float32 [V, D]
    outputs  float32 [V, D]
    """

    inputs: torch.Tensor
    outputs: torch.Tensor

    @classmethod
    def new(cls, words: int, dim: int, generator: torch.Generator) -> Cbow:
        """word2vec.c's beginning: inputs uniform within 0.5 / D of zero, outputs zero."""
        return cls((torch.rand(words, dim, generator=generator) - 0.5) / dim, torch.zeros(words, dim))

    def loss(self, batch: CbowBatch) -> torch.Tensor:
        """The loss summed over the batch; autograd can follow it."""
        hidden = self._hidden(batch)
        right, wrong = self._right(hidden, batch)[0], self._wrong(hidden, batch)[0]
        return F.softplus(-right).sum() + batch.weight * F.softplus(wrong).sum()

    def gradients(self, batch: CbowBatch, *, divided: bool = True, times: float = 1.0) -> Gradients:
        """In closed form, `times` a number; `divided=False` leaves out dx_j's 1/|c|."""
        hidden = self._hidden(batch)
        right, positive = self._right(hidden, batch)  # [N], [N, D]
        wrong, negative = self._wrong(hidden, batch)  # [B, N/B, K], [B, K, D]
        pull = right.sigmoid_().sub_(1).mul_(times)[:, None]  # [N, 1]
        push = wrong.sigmoid_().mul_(times * batch.weight)
        down = torch.bmm(push, negative).view_as(hidden).addcmul_(pull, positive)  # dh [N, D]
        negatives = torch.bmm(push.mT, hidden.view(len(negative), -1, hidden.shape[1]))
        outputs = hidden.mul_(pull)
        return Gradients(_sums(down.mul_(self._shares(batch)) if divided else down, batch.mirror), outputs, negatives)

    def step(self, batch: CbowBatch, rate: float, *, divided: bool = True) -> None:
        """One step of gradient descent on the batch's summed loss; a row that moves too often in it moves less."""
        found = self.gradients(batch, divided=divided, times=-rate)
        stands = batch.stands
        if not divided:
            stands = stands * torch.from_numpy(batch.mirror.sizes).clamp(min=1)[:, None]
        inputs = found.inputs.mul_(_calm(stands, rate))
        outputs = found.outputs.mul_(_calm(batch.moved, rate))
        negatives = found.negatives.mul_(_calm(batch.pushed, rate))
        self.inputs.index_add_(0, batch.words, inputs)  # int64, no alpha: three times as fast as with either
        self.outputs.index_add_(0, batch.words, outputs)
        self.outputs.index_add_(0, batch.negatives.flatten(), negatives.flatten(0, 1))

    def _hidden(self, batch: CbowBatch) -> torch.Tensor:
        """h [N, D], zero without context."""
        return _sums(F.embedding(batch.words, self.inputs), batch.context).mul_(self._shares(batch))

    def _shares(self, batch: CbowBatch) -> torch.Tensor:
        """1/|c| [N, 1]; 1 for an empty context, whose sum is zero."""
        return 1 / torch.from_numpy(batch.context.sizes).clamp(min=1).to(self.inputs.dtype)[:, None]

    def _right(self, hidden: torch.Tensor, batch: CbowBatch) -> tuple[torch.Tensor, torch.Tensor]:
        positive = F.embedding(batch.words, self.outputs)  # [N, D]
        return (hidden * positive).sum(1), positive

    def _wrong(self, hidden: torch.Tensor, batch: CbowBatch) -> tuple[torch.Tensor, torch.Tensor]:
        negative = F.embedding(batch.negatives, self.outputs)  # [B, K, D]
        scores = torch.bmm(hidden.view(len(negative), -1, hidden.shape[1]), negative.mT)  # [B, N/B, K]
        itself = batch.words.view(len(negative), -1, 1) == batch.negatives[:, None, :]
        return scores.masked_fill(itself, -torch.inf), negative


def _calm(moves: torch.Tensor, rate: float) -> torch.Tensor:
    """What to multiply the step of a row by that moves so often in a batch: 1, unless that is too often for the rate.

    Word after word, word2vec sees the effect of one step before the next; a batch does not, and overshoots.
    """
    return (MOST / rate / moves).clamp_(max=1.0)


def _sums(rows: torch.Tensor, bags: Bags) -> torch.Tensor:
    """Of the rows [N, D], the sum of every bag [N, D]."""
    places, sizes = torch.from_numpy(bags.places), torch.from_numpy(bags.sizes)
    return F.embedding_bag(places, rows, torch.cumsum(sizes, 0) - sizes, mode="sum")
