"""Answers as a run by preferences reads, samples and weighs them.

Letters: N tokens of answers, A answers, C numbers beside each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bothways.batch import Batch, Sample, Target
from bothways.inference.decoding.generate import generate
from bothways.inference.decoding.options import GenerationOptions, GenerationRequest
from bothways.inference.engine import Engine
from bothways.inference.likelihoods import log_likelihoods
from bothways.model import Model
from bothways.tasks.task import Example
from bothways.tasks.text2text import laid
from bothways.training.finetuning.preference_losses import divergence

if TYPE_CHECKING:
    from bothways.training.finetuning.setup import FinetuneRun

ANSWER_VALUES = "beside"
"""The head of targets that no head predicts: numbers that a loss reads beside the words of an answer."""


def drawn(run: FinetuneRun, sample: Sample) -> Sample:
    """An answer behind its prompt as the objective reads it; nothing in it is random."""
    assert run.draw
    (found,) = run.draw([sample], 0, 0, 0.0)
    return found


def with_answer_values(sample: Sample, numbers: Any, *, group: int, weight: float | np.ndarray) -> Sample:
    """A sample of an answer as losses of preferences read it: its tokens as targets of weight 0, and beside its last
    token, or each of them, numbers [1, C] or [N, C] with this weight."""
    words, *_ = sample.targets
    numbers, at = np.asarray(numbers, dtype=np.float32), np.asarray(words.at)
    words = replace(words, weight=0.0, group=np.full(len(at), group))
    places = at[-len(numbers) :]
    other = Target(ANSWER_VALUES, places, numbers, weight, words.name, np.full(len(places), group))
    return replace(sample, targets=(words, other))


@dataclass(frozen=True, slots=True)
class Answers:
    """What a batch says of its answers, in the order of their groups: sums [A] of the log-likelihoods of their tokens,
    how many these are [A], the numbers beside [A, C] and weights [A]."""

    sums: Tensor
    lengths: Tensor
    numbers: Tensor
    weight: Tensor

    @classmethod
    def of(cls, each: Tensor, words: Target, other: Target) -> Answers:
        """Of the log-likelihoods of all tokens [N]."""
        assert isinstance(other.group, Tensor) and isinstance(words.group, Tensor)
        groups, order = other.group.sort()
        place = torch.searchsorted(groups, words.group)
        sums = each.new_zeros(len(groups)).index_add(0, place, each)
        numbers, weight = torch.as_tensor(other.labels)[order], torch.as_tensor(other.weight)[order]
        return cls(sums, torch.bincount(place, minlength=len(groups)), numbers, weight)


def answer_values(batch: Batch) -> Target:
    """Those of a batch's answers."""
    (found,) = [target for target in batch.targets if target.head == ANSWER_VALUES]
    return found


@dataclass(frozen=True, slots=True)
class SampledAnswer:
    """An answer that a model sampled.

    tokens  with the one that ended it, if one did
    """

    text: str
    tokens: list[int]


def prompt_of(run: FinetuneRun, example: Example) -> np.ndarray:
    """The tokens that the model reads before it answers an example."""
    (sample,) = run.task.encode(replace(example, gold=None), run.tokenizer, run.data.head, length=run.length)
    return sample.tokens


def sample_answers(
    engine: Engine, prompts: Sequence[np.ndarray], seeds: Sequence[tuple[int, ...]]
) -> list[SampledAnswer]:
    """An answer to each prompt, drawn from the model as it is, with random numbers of its own."""
    writes = engine.writes
    assert writes
    options = GenerationOptions(max_new_tokens=writes.target, eos_token_id=writes.end)
    asked = [
        GenerationRequest(np.asarray(prompt, dtype=np.int64), options, own)
        for prompt, own in zip(prompts, seeds, strict=True)
    ]
    ends = {"stop": [writes.end], "length": []}
    return [SampledAnswer(one.text, [*one.tokens, *ends[one.finish_reason]]) for one in generate(engine, asked)]


def answer_sample(run: FinetuneRun, prompt: np.ndarray, sampled: SampledAnswer) -> Sample:
    """A sampled answer behind its prompt, as the objective reads it."""
    return drawn(run, laid(prompt.tolist(), sampled.tokens, name=run.task.name))


def divergences(policy: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> list[float]:
    """Of each answer that a model sampled, an estimate of its divergence from the reference in nats, by the
    log-likelihoods of its tokens under both [N]."""
    both = ((torch.from_numpy(side).double() for side in pair) for pair in zip(policy, reference, strict=True))
    return [float(divergence(*pair).sum()) for pair in both]


def generate_with_kl(
    run: FinetuneRun, model: Model, prompts: Sequence[np.ndarray], seeds: Sequence[tuple[int, ...]]
) -> list[dict[str, Any]]:
    """What a model answers: {"text", "tokens": how many, "kl": from the reference in nats}."""
    assert run.reference
    found = sample_answers(Engine(model, run.tokenizer, run.trained), prompts, seeds)
    samples = [answer_sample(run, prompt, one) for prompt, one in zip(prompts, found, strict=True)]
    apart = divergences(log_likelihoods(model, samples), log_likelihoods(run.reference, samples))
    return [{"text": one.text, "tokens": len(one.tokens), "kl": kl} for one, kl in zip(found, apart, strict=True)]
