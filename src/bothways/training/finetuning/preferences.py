"""How a model is taught by preferences: pairs of answers, or single ones that are good or bad, beside a reference.

Letters: E examples, A answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bothways.batch import Batch, BatchSplitter, Losses, Sample
from bothways.inference.likelihoods import likelihoods_in, log_likelihoods, words_of
from bothways.model import Model
from bothways.model.losses import with_extra
from bothways.tasks.packing import pack
from bothways.training.finetuning.answers import Answers, answer_values, generate_with_kl, prompt_of, with_answer_values
from bothways.training.finetuning.batches import counted, joined, share_of_process, tokens_in
from bothways.training.finetuning.compared_answers import BASE, REFERENCE, SIGN, ComparedAnswers
from bothways.training.finetuning.preference_losses import dpo, kto, orpo
from bothways.training.finetuning.reference import kept
from bothways.training.finetuning.start import spread
from bothways.training.finetuning.teaching import MeasuredAnswers, own_scores

if TYPE_CHECKING:
    from bothways.training.finetuning.setup import FinetuneRun

BETA = 0.1


@dataclass(slots=True)
class PreferenceTraining:
    """How the model of a run is taught by its examples of preferences; see `teaching.TrainingMethod`."""

    run: FinetuneRun
    sides: dict[str, ComparedAnswers]
    name: str = "prefer"
    weights: dict[float, float] = field(init=False)

    def __post_init__(self) -> None:
        signs = np.concatenate([np.array(some) for some in self.sides["train"].signs])
        self.weights = {sign: float(len(signs) / (2 * max((signs == sign).sum(), 1))) for sign in (1.0, -1.0)}

    @classmethod
    def of(cls, run: FinetuneRun, *, again: bool) -> PreferenceTraining:
        """With what the reference says of every answer: asked before the first step, and read `again`."""
        assert run.reference
        train = list(zip(run.data.train, run.parts, strict=True))
        made = {"train": train, "dev": run.dev, "test": run.test}
        sides = {side: ComparedAnswers.of(run, some) for side, some in made.items()}
        samples = [one for side in sides.values() for one in side.samples]
        if run.config.loss == "orpo":
            found = np.zeros(len(samples))
        else:
            found = kept(run.reference, samples, folder=run.folder.path, again=again, team=run.team)
        ends = np.cumsum([len(side.samples) for side in sides.values()])[:-1]
        for side, some in zip(sides.values(), np.split(found, ends), strict=True):
            side.know(some)
        return cls(run, sides)

    @property
    def beta(self) -> float:
        """How much it weighs to stay near the reference."""
        return BETA if self.run.config.beta is None else self.run.config.beta

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return self.run.steps

    def examples(self, step: int) -> int:
        """How many a step reads."""
        return self.run.count_of(step)

    @property
    def count(self) -> Callable[[int], float] | None:
        """Of balanced classes, the answers of a step: what these weigh depends on which they are."""
        signs, examples_of = self.sides["train"].signs, self.run.examples_of
        balanced = self.run.config.class_weights == "balanced"
        return (lambda step: float(sum(len(signs[i]) for i in examples_of(step)))) if balanced else None

    def extra_metrics(self) -> dict[str, Any]:
        """Nothing more."""
        return {}

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        """That of the answers in a batch."""
        extra: dict[str, Tensor] = {}
        answers = Answers.of(likelihoods_in(self.run.model, batch, extra), words_of(batch), answer_values(batch))
        each, weight = self._each(answers)
        return with_extra({self.name: ((each * weight).sum(), weight.sum())}, extra)

    def _each(self, answers: Answers) -> tuple[Tensor, Tensor]:
        """The loss of each pair, or of each answer, and what it weighs."""
        config, numbers = self.run.config, answers.numbers
        if config.loss == "kto":
            ratio = answers.sums - numbers[:, REFERENCE]
            return kto(ratio, numbers[:, SIGN], numbers[:, BASE], beta=self.beta), answers.weight
        count = (
            answers.lengths if config.loss == "orpo" or config.length_normalised else torch.ones_like(answers.lengths)
        )
        policy, reference = ((side / count).view(-1, 2) for side in (answers.sums, numbers[:, REFERENCE]))
        weight = answers.weight.view(-1, 2).sum(1)
        if config.loss == "orpo":
            return orpo(policy, beta=self.beta), weight
        return dpo(policy, reference, beta=self.beta, smoothing=config.label_smoothing), weight

    def batches(self, step: int, progress: float) -> list[Batch]:
        """This process's micro-batches of a step."""
        run, side = self.run, self.sides["train"]
        chosen = run.examples_of(step)
        mine = share_of_process([[i] for i in chosen], [tokens_in(side.parts, [i]) for i in chosen], run.team)
        base = self.base(side, [i for some in mine for i in some])
        made = joined(mine, [tokens_in(side.parts, some) for some in mine])
        return counted(run, [self._laid(side, some, base).to(run.model.table.device) for some in made])

    def _laid(self, side: ComparedAnswers, chosen: Sequence[int], base: float) -> Batch:
        samples, owner = [], []
        for i in chosen:
            parts = zip(side.parts[i], side.signs[i], side.known[i], strict=True)
            for group, (part, sign, known) in enumerate(parts):
                samples.append(
                    with_answer_values(part, [[sign, known, base]], group=group, weight=self.weight(i, sign))
                )
                owner.append(i)
        batch = pack(samples, np.array(owner)).batch
        return replace(batch, splitter=BatchSplitter(chosen, partial(self._laid, side, base=base)))

    def weight(self, example: int, sign: float) -> float:
        """What an answer of a training example weighs: half a pair; of KTO, one, or as much as makes good and bad
        answers weigh alike."""
        if self.run.config.loss != "kto":
            return 1 / len(self.sides["train"].signs[example])
        if self.run.config.class_weights == "equal":
            return 1.0
        return self.weights[sign]

    def base(self, side: ComparedAnswers, chosen: Sequence[int]) -> float:
        """What KTO compares an answer with, as the model is: the mean log-likelihood ratio of mismatched answers, or 0
        where it is less (Ethayarajh et al. 2024, section 4.2); of other losses 0."""
        if self.run.config.loss != "kto":
            return 0.0
        model, team = self.run.model, self.run.team
        learning = model.training
        found = team.own(lambda: log_likelihoods(model.eval(), [side.others[i] for i in chosen]))
        model.train(learning)
        ratios = [
            float(one.astype(np.float64).sum()) - side.others_known[i] for i, one in zip(chosen, found, strict=True)
        ]
        return max(0.0, team.total(sum(ratios)) / max(1.0, team.total(len(ratios))))

    def measured(self, where: str, model: Model) -> MeasuredAnswers:
        """What a model makes of the examples of a file: the rewards of their answers, and what it answers itself."""
        run, side = self.run, self.sides[where]

        def sums(mine: Sequence[list[Sample]]) -> list[list[float]]:
            flat = iter(log_likelihoods(model, [one for some in mine for one in some]))
            return [[float(next(flat).astype(np.float64).sum()) for _ in some] for some in mine]

        known = model is run.reference and run.config.loss != "orpo"
        found = [some.tolist() for some in side.known] if known else run.team.shared(side.parts, sums)
        answers = self._answers(side, found, self.base(side, range(len(side.parts))))
        each, weight = self._each(answers)
        rewards = self._rewards(side, answers)
        own = self._own_answers(side, model)
        loss = float((each * weight).sum() / weight.sum()) if len(each) else None
        margins = [(good - bad, i) for i, (good, *rest) in enumerate(rewards) for bad in rest]
        worst = [i for margin, i in sorted(margins) if margin < 0]

        def scores_of(drawn: Sequence[int]) -> dict[str, float]:
            return preferred(rewards, side.signs, drawn) | own_scores(own, drawn, "kl", "tokens")

        return MeasuredAnswers(side.examples, loss, scores_of, own, worst)

    def _answers(self, side: ComparedAnswers, sums: Sequence[Sequence[float]], base: float) -> Answers:
        """Those of all examples of a file, float64."""
        flat = [
            (total, len(part.targets[0].at), sign, known, base)
            for totals, parts, signs, own in zip(sums, side.parts, side.signs, side.known, strict=True)
            for total, part, sign, known in zip(totals, parts, signs, own, strict=True)
        ]
        table = torch.tensor(flat, dtype=torch.float64).reshape(-1, 5)
        return Answers(table[:, 0], table[:, 1], table[:, 2:], torch.ones(len(table), dtype=torch.float64))

    def _rewards(self, side: ComparedAnswers, answers: Answers) -> list[list[float]]:
        """Beta times the log-likelihood ratio of each answer to the reference (DPO, section 4), a token's mean where
        the loss takes that; of ORPO, which has no reference, beta times the mean log-likelihood."""
        alone = self.run.config.loss == "orpo"
        more = answers.sums if alone else answers.sums - answers.numbers[:, REFERENCE]
        if alone or self.run.config.length_normalised:
            more = more / answers.lengths
        flat = iter((self.beta * more).tolist())
        return [[next(flat) for _ in some] for some in side.parts]

    def _own_answers(self, side: ComparedAnswers, model: Model) -> list[dict[str, Any] | None]:
        """What the model answers to some of the prompts, how long, and how far from the reference; None of others."""
        run = self.run
        asked = spread(range(len(side.parts)), run.config.dev_generated)
        assert run.reference

        def generate_answers(mine: Sequence[int]) -> list[dict[str, Any]]:
            prompts = [prompt_of(run, side.examples[i]) for i in mine]
            return generate_with_kl(run, model, prompts, [(run.config.seed, i) for i in mine])

        found = dict(zip(asked, run.team.shared(asked, generate_answers), strict=True))
        return [found.get(i) for i in range(len(side.parts))]


def preferred(
    rewards: Sequence[Sequence[float]], signs: Sequence[Sequence[float]], drawn: Sequence[int]
) -> dict[str, float]:
    """Of some examples: how often a good answer is rewarded more than a bad one, a tie a half, and by how much; of
    pairs the two of each prompt are compared, of single answers all good ones with all bad ones."""
    pairs = np.array([rewards[i] for i in drawn if len(rewards[i]) == 2]).reshape(-1, 2)
    if len(pairs):
        apart = pairs[:, 0] - pairs[:, 1]
    else:
        good, bad = (np.array([rewards[i][0] for i in drawn if signs[i][0] == sign]) for sign in (1.0, -1.0))
        apart = (good[:, None] - bad[None]).ravel()
    if not len(apart):
        return {"accuracy": float("nan"), "margin": float("nan")}
    return {"accuracy": float((np.sign(apart) / 2 + 0.5).mean()), "margin": float(apart.mean())}
