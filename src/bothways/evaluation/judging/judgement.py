"""What a judging found: scores of every model, who wins, and all answers; as plain values and as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bothways.evaluation.judging.answers import JudgedAnswer, RunAnswers
from bothways.evaluation.judging.prompts import JudgePrompt
from bothways.evaluation.judging.verdicts import JudgeBias, Wins
from bothways.frames import data_frame
from bothways.statistics import bootstrap, estimate
from bothways.tasks.rouge import rouge_tokens
from bothways.tasks.text_scores import Runs

if TYPE_CHECKING:
    import pandas

VERSION = 1
SHARES: dict[str, Callable[[JudgedAnswer], bool | None]] = {
    "obeyed": lambda answer: all(answer.rules.values()) if answer.rules else None,
    "exact": lambda answer: answer.exact,
    "refused": lambda answer: answer.refused,
    "finished": lambda answer: answer.finished,
}
"""{metric: whether it is so of an answer}; None: the prompt does not ask for it"""
METRICS = {
    "obeyed": "answers that obey all rules of their prompt",
    "exact": "answers that are a reference, but for white space",
    "refused": "answers that refuse",
    "finished": "answers that ended by themselves",
    "perplexity": "of the references after their prompts, a token; to compare models of one tokenizer",
    "bits_per_byte": "of the same references; to compare any models",
    "distinct_1": "different words in their share of all",
    "distinct_2": "different pairs of words in their share of all",
    "words": "of an answer",
}


@dataclass(frozen=True, slots=True)
class JudgeScore:
    """One model by one metric, over `prompts`; low and high end the 95 % interval.

    metric  one of `METRICS`, or "rule NAME": the answers that obey this rule
    """

    model: str
    metric: str
    figure: float
    low: float
    high: float
    prompts: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """All that was found.

    scores   JudgeScore, of every model by every metric that the prompts ask for
    wins     Wins, of every pair of models, by rules and by the model that judged
    judge    how far that model is to be trusted; None: there was none
    """

    prompts: tuple[JudgePrompt, ...]
    runs: tuple[RunAnswers, ...]
    scores: tuple[JudgeScore, ...]
    wins: tuple[Wins, ...]
    judge: JudgeBias | None = None

    def __repr__(self) -> str:
        names = ", ".join(one.name for one in self.runs)
        return f"Judgement({names}: {len(self.prompts)} prompts, {len(self.scores)} scores, {len(self.wins)} pairs)"

    def score(self, model: str, metric: str) -> JudgeScore | None:
        """One of the scores; None: the prompts do not ask for it."""
        return next((one for one in self.scores if (one.model, one.metric) == (model, metric)), None)

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each score, as JudgeScore: model, metric, figure, low, high, prompts.

        Raises:
            MachineError: pandas is not installed.
        """
        return data_frame(self.scores)

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values, answers too; `version` is that of the form."""
        return {
            "version": VERSION,
            "scores": [asdict(one) for one in self.scores],
            "wins": [asdict(one) for one in self.wins],
            "judge": asdict(self.judge) if self.judge else None,
            "answers": [
                {
                    "id": prompt.name,
                    "messages": [dict(one) for one in prompt.messages],
                    "references": list(prompt.references),
                    "rules": dict(prompt.rules),
                    "answers": {run.name: asdict(run.answers[place]) for run in self.runs},
                }
                for place, prompt in enumerate(self.prompts)
            ],
        }


def scores_of(run: RunAnswers) -> Iterator[JudgeScore]:
    """A model's, of those metrics that its prompts ask for."""
    rules = dict.fromkeys(name for answer in run.answers for name in answer.rules)
    of_rules = {f"rule {name}": _of_rule(name) for name in rules}
    for metric, so in {**SHARES, **(of_rules if len(rules) > 1 else {})}.items():
        values = [so(answer) for answer in run.answers]
        known = np.array([value for value in values if value is not None], dtype=np.float64)
        if len(known):
            share = estimate([known])
            yield JudgeScore(run.name, metric, share.figure, share.low, share.high, len(known))
    yield from _of_references(run)
    yield from _of_words(run)


def _of_rule(name: str) -> Callable[[JudgedAnswer], bool | None]:
    return lambda answer: answer.rules.get(name)


def _of_references(run: RunAnswers) -> Iterator[JudgeScore]:
    nats, tokens, size = run.references[run.references[:, 1] > 0].T
    if not len(nats):
        return
    several = len(nats) > 1
    for metric, weight, change in (
        ("perplexity", tokens, math.exp),
        ("bits_per_byte", size, lambda mean: mean / math.log(2)),
    ):
        mean = float(nats.sum() / weight.sum())
        ends = estimate([nats], weight=weight) if several else None
        low, high = (ends.low, ends.high) if ends else (math.nan, math.nan)
        yield JudgeScore(run.name, metric, change(mean), change(low), change(high), len(nats))


def _of_words(run: RunAnswers) -> Iterator[JudgeScore]:
    """Different words have no interval: of prompts that are drawn twice, the words stand there twice."""
    words = [rouge_tokens(answer.text) for answer in run.answers]
    whole = np.arange(len(words))
    for size in (1, 2):
        share = Runs.of(words, size).distinct(whole)
        yield JudgeScore(run.name, f"distinct_{size}", share, math.nan, math.nan, len(words))
    counts = np.array([len(one) for one in words])
    (low, high) = bootstrap(lambda some: {"words": float(counts[some].mean())}, len(words))["words"]
    yield JudgeScore(run.name, "words", float(counts.mean()), low, high, len(words))
