"""How a model is taught by rewards: several answers to a prompt are sampled, and those above their mean made likelier.

GRPO (Shao et al. 2024, "DeepSeekMath", section 4.1). Everything random is a function of the seed and the number of a
round, and a round whose answers are learned in several steps is kept in the checkpoint.

Letters: N tokens of answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bothways.batch import Batch, BatchSplitter, Losses, Sample
from bothways.inference.engine import Engine
from bothways.inference.likelihoods import likelihoods_in, log_likelihoods
from bothways.model import Model
from bothways.model.losses import with_extra
from bothways.tasks.packing import pack
from bothways.training.finetuning.answers import (
    SampledAnswer,
    answer_sample,
    answer_values,
    divergences,
    generate_with_kl,
    prompt_of,
    sample_answers,
    with_answer_values,
)
from bothways.training.finetuning.batches import counted, joined, share_of_process, tokens_in
from bothways.training.finetuning.preference_losses import advantages, grpo
from bothways.training.finetuning.rewards import Reward
from bothways.training.finetuning.start import spread
from bothways.training.finetuning.teaching import MeasuredAnswers, own_scores

if TYPE_CHECKING:
    from bothways.training.finetuning.setup import FinetuneRun

BETA = 0.04
"""Shao et al. 2024, section 4.2."""


@dataclass(slots=True)
class GrpoTraining:
    """How the model of a run is taught by a reward; see `teaching.TrainingMethod`."""

    run: FinetuneRun
    reward: Reward
    name: str = "grpo"
    count: None = None

    @classmethod
    def of(cls, run: FinetuneRun) -> GrpoTraining:
        """By the function in one of the files of the setting `code`."""
        return cls(run, Reward.found_in(run.config.code))

    @property
    def beta(self) -> float:
        """How much it weighs to stay near the reference."""
        return BETA if self.run.config.beta is None else self.run.config.beta

    @property
    def steps(self) -> int:
        """Of an epoch: so many rounds, each of so many updates."""
        return self.run.steps * self.run.config.updates

    def examples(self, step: int) -> int:
        """How many answers a step learns from."""
        return self.run.count_of(step // self.run.config.updates) * self.run.config.samples

    def extra_metrics(self) -> dict[str, Any]:
        """Of the answers of the step: their mean reward, length and divergence from the reference."""
        found = [one for some in self.run.state.notes["round"]["answers"] for one in some]
        return {name: float(np.mean([one[name] for one in found])) for name in ("reward", "kl")} | {
            "tokens_in_answer": float(np.mean([len(one["tokens"]) for one in found]))
        }

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        """That of the tokens of the answers in a batch."""
        extra: dict[str, Tensor] = {}
        policy, beside = likelihoods_in(self.run.model, batch, extra), answer_values(batch)
        before, reference, advantage = torch.as_tensor(beside.labels).unbind(1)
        each = grpo(policy, before, reference, advantage, clip=self.run.config.clip, beta=self.beta)
        weight = torch.as_tensor(beside.weight)
        return with_extra({self.name: ((each * weight).sum(), weight.sum())}, extra)

    def batches(self, step: int, progress: float) -> list[Batch]:
        """This process's micro-batches of a step: answers of the model as it was when their round began."""
        run, number = self.run, step // self.run.config.updates
        notes = run.state.notes
        if notes.get("round", {}).get("number") != number:
            prompts = run.examples_of(number)
            answers = run.team.shared(prompts, lambda mine: self._sampled(number, mine))
            notes["round"] = {"number": number, "prompts": prompts, "answers": answers}
        groups = [
            self._group(i, answers)
            for i, answers in zip(notes["round"]["prompts"], notes["round"]["answers"], strict=True)
        ]
        samples = [one for some in groups for one in some]
        mine = share_of_process([[i] for i in range(len(samples))], [len(one) for one in samples], run.team)
        parts = [[one] for one in samples]
        made = joined(mine, [tokens_in(parts, some) for some in mine])
        return counted(run, [_packed([(i, samples[i]) for i in some]).to(run.model.table.device) for some in made])

    def _sampled(self, number: int, prompts: Sequence[int]) -> list[list[dict[str, Any]]]:
        """The answers of the model as it is to each of some prompts: {"tokens", "reward", "kl", and "before" and
        "reference": the log-likelihood of each token under the model and under the reference}."""
        run, model, count = self.run, self.run.model, self.run.config.samples
        assert run.reference
        asked = [(i, one) for i in prompts for one in range(count)]
        tokens = [run.parts[i][0].tokens for i, _ in asked]
        learning = model.training
        sampled = sample_answers(
            Engine(model.eval(), run.tokenizer, run.trained), tokens, [(run.config.seed, number, *one) for one in asked]
        )
        samples = [answer_sample(run, prompt, one) for prompt, one in zip(tokens, sampled, strict=True)]
        before, reference = log_likelihoods(model, samples), log_likelihoods(run.reference, samples)
        model.train(learning)
        made = [
            {
                "tokens": one.tokens,
                "reward": self.reward(run.data.train[i], one.text),
                "kl": kl,
                "before": own.tolist(),
                "reference": other.tolist(),
            }
            for (i, _), one, kl, own, other in zip(
                asked, sampled, divergences(before, reference), before, reference, strict=True
            )
        ]
        return [made[start : start + count] for start in range(0, len(made), count)]

    def _group(self, example: int, answers: Sequence[dict[str, Any]]) -> list[Sample]:
        """The answers to a prompt as samples with their numbers beside: the log-likelihood of each token when it was
        sampled and under the reference, and the advantage of the answer. An answer weighs one, its tokens a share each
        (Shao et al. 2024, equation 3)."""
        run, prompt = self.run, self.run.parts[example][0].tokens
        (gained,) = advantages(torch.tensor([[one["reward"] for one in answers]], dtype=torch.float64)).tolist()
        found = []
        for one, advantage in zip(answers, gained, strict=True):
            sample = answer_sample(run, prompt, SampledAnswer("", one["tokens"]))
            numbers = [(*pair, advantage) for pair in zip(one["before"], one["reference"], strict=True)]
            found.append(with_answer_values(sample, numbers, group=0, weight=1 / len(numbers)))
        return found

    def measured(self, where: str, model: Model) -> MeasuredAnswers:
        """What a model answers to the prompts of a file, one answer each, and how it is rewarded; of dev at most
        `dev_generated` prompts."""
        run = self.run
        side = [example for example, _ in (run.test if where == "test" else run.dev)]
        examples = side if where == "test" else spread(side, run.config.dev_generated)

        def generate_answers(mine: Sequence[int]) -> list[dict[str, Any]]:
            prompts = [prompt_of(run, examples[i]) for i in mine]
            found = generate_with_kl(run, model, prompts, [(run.config.seed, i) for i in mine])
            return [one | {"reward": self.reward(examples[i], one["text"])} for i, one in zip(mine, found, strict=True)]

        own = run.team.shared(range(len(examples)), generate_answers)
        return MeasuredAnswers(examples, None, lambda drawn: own_scores(own, drawn, "reward", "kl", "tokens"), own)


def _packed(samples: Sequence[tuple[int, Sample]]) -> Batch:
    """Answers with their numbers as a batch."""
    batch = pack([sample for _, sample in samples], np.array([i for i, _ in samples])).batch
    return replace(batch, splitter=BatchSplitter(samples, _packed))
