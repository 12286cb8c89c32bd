"""Which of two models answers better, prompt by prompt: by rules and references, or by a model that is named.

A model that judges reads both answers in both orders, and says a number: what it says in one order alone is the place
of the answer, not the answer, and counts as a tie (Zheng et al. 2023, section 3.4, "swapping positions").

Letters: P prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bothways.errors import ModelError
from bothways.evaluation.judging.answers import RunAnswers
from bothways.evaluation.judging.prompts import JudgePrompt
from bothways.inference import LanguageModel
from bothways.inference.engine import Engine
from bothways.inference.score import score_after
from bothways.inference.writing import chatting_as
from bothways.statistics import estimate, holm, sign_test
from bothways.text.chat import chat_tokens
from bothways.text.conversation import DAY

QUESTION = """Question:
{question}

Answer 1:
{one}

Answer 2:
{other}

Which answer is better: more right, more helpful, and as the question asks for it? Say only its number, 1 or 2."""
REFERENCE = "A right answer, to compare with:\n{reference}\n\n"
RULES = "rules"


@dataclass(frozen=True, slots=True)
class Wins:
    """Two models over the prompts that decide between them.

    by          "rules" (those of the prompt that are obeyed; where it has none, whether the reference is met), or the
                name of the model that judged
    rate        the share of prompts that `one` wins, a tie being a half; low and high end the 95 % interval
    p           that of the sign test over the prompts that are no ties, corrected for all pairs and ways (Holm)
    verdicts    of each prompt: 1 where `one` is better, 0 a tie, -1; None: nothing decides
    """

    one: str
    other: str
    by: str
    wins: int
    ties: int
    losses: int
    rate: float
    low: float
    high: float
    p: float
    verdicts: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class JudgeBias:
    """How far a model that judges is to be trusted.

    asked      how often it was shown two answers that differ
    first      the share in which it chose the first: a half, if places do not matter; None: it was asked nothing
    agreed     the share of pairs of answers of which it said the same in both orders; None, too
    unread     how many pairs of answers are more than it reads, and decide nothing
    reference  the share of references that it prefers, in both orders, to that of the next prompt; None: there are none
    """

    name: str
    asked: int
    first: float | None
    agreed: float | None
    unread: int
    reference: float | None


def by_rules(one: RunAnswers, other: RunAnswers) -> list[int | None]:
    """Of each prompt which answer obeys more of its rules; without rules, which meets a reference."""

    def points(found: RunAnswers, place: int) -> float | None:
        answer = found.answers[place]
        if answer.rules:
            return sum(answer.rules.values()) / len(answer.rules)
        return None if answer.exact is None else float(answer.exact)

    verdicts: list[int | None] = []
    for place in range(len(one.answers)):
        mine, theirs = points(one, place), points(other, place)
        verdicts.append(None if mine is None or theirs is None else (mine > theirs) - (mine < theirs))
    return verdicts


class ModelJudge:
    """A model that says which of two answers is better; counts how often it goes by their places."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name, self._engine = name, engine
        self._asked = self._first = self._agreed = self._unread = 0

    @classmethod
    def of(cls, name: str, model: LanguageModel) -> ModelJudge:
        """
        Raises:
            ModelError: it does not continue a text, so that it cannot be asked which number is likelier.
        """
        try:
            engine = chatting_as(model.engine)
            engine.needs("decoder")
        except ModelError as error:
            raise ModelError(f"{name}, which is to judge: {error}") from None
        return cls(name, engine)

    def verdicts(self, prompts: Sequence[JudgePrompt], pairs: Sequence[tuple[str, str]]) -> list[int | None]:
        """Of each prompt with a pair of answers: 1 the first is better, -1 the second, 0 it does not matter to it, None
        it cannot read both."""
        differ = [place for place, (one, other) in enumerate(pairs) if one != other]
        shown = []
        for place in differ:
            one, other = pairs[place]
            shown += [(prompts[place], one, other), (prompts[place], other, one)]
        chosen = self._choices(shown)  # [2 pairs], 1 or -1
        found: list[int | None] = [0] * len(pairs)
        for place, (forth, back) in zip(differ, chosen.reshape(-1, 2).tolist(), strict=True):
            if not forth or not back:
                found[place] = None
                self._unread += 1
                continue
            found[place] = forth if forth == -back else 0
            self._asked += 2
            self._first += (forth > 0) + (back > 0)
            self._agreed += forth == -back
        return found

    def bias(self, prompts: Sequence[JudgePrompt]) -> JudgeBias:
        """What is known of it after all verdicts; it is asked about references too."""
        known = [one for one in prompts if one.references]
        asked, first, agreed, unread = self._asked, self._first, self._agreed, self._unread
        pairs = [
            (one.references[0], two.references[0]) for one, two in zip(known, [*known[1:], *known[:1]], strict=True)
        ]
        told = [JudgePrompt(one.name, one.messages) for one in known]  # without the reference beside it
        differ = (one for one, pair in zip(self.verdicts(told, pairs), pairs, strict=True) if pair[0] != pair[1])
        found = [one for one in differ if one is not None]
        right = sum(one == 1 for one in found) / len(found) if found else None
        forth, alike = (count / asked if asked else None for count in (first, 2 * agreed))
        return JudgeBias(self.name, asked, forth, alike, unread, right)

    def _choices(self, asked: Sequence[tuple[JudgePrompt, str, str]]) -> np.ndarray:
        """1 where "1" is likelier than "2", else -1; 0 where the question is longer than it reads."""
        if not asked:
            return np.zeros(0, dtype=np.int64)
        tokenizer = self._engine.tokenizer
        prompts = [self._read(judge_prompt(*one)) for one in asked]
        one, two = (np.array(tokenizer.encode(number), dtype=np.int64) for number in ("1", "2"))
        sums, _ = score_after(self._engine, [*prompts, *prompts], [one] * len(prompts) + [two] * len(prompts))
        room, writes = self._engine.length - max(len(one), len(two)), self._engine.writes
        if writes and writes.chat:  # taught no longer prompts
            room = min(room, writes.room(self._engine.length))
        read = [len(prompt) <= room for prompt in prompts]
        return np.where(read, np.where(sums[: len(prompts)] > sums[len(prompts) :], 1, -1), 0)

    def _read(self, text: str) -> np.ndarray:
        tokenizer = self._engine.tokenizer
        if tokenizer.chat:
            # Whole: `chat_prompt` would cut it to what a model that was taught instructions reads.
            return np.array(chat_tokens(tokenizer, [{"role": "user", "content": text}], now=DAY), dtype=np.int64)
        before, _ = self._engine.around(closed=False)
        tokens = [*before, *tokenizer.encode(f"{text}\n\nThe number of the better answer:\n")]
        return np.array(tokens, dtype=np.int64)


def judge_prompt(prompt: JudgePrompt, one: str, other: str) -> str:
    """What a judge reads; of several messages all, with who says them."""
    told = [f"{message['role']}: {message['content']}" for message in prompt.messages]
    question = "\n".join(told) if len(told) > 1 else prompt.text
    beside = REFERENCE.format(reference=prompt.references[0]) if prompt.references else ""
    return beside + QUESTION.format(question=question, one=one, other=other)


def wins_of(found: Sequence[tuple[str, str, str, list[int | None]]]) -> list[Wins]:
    """(one, other, by, verdicts) of pairs as figures; pairs that nothing decides are left out."""
    decided = [(*one, np.array([verdict for verdict in one[-1] if verdict is not None])) for one in found]
    kept = [one for one in decided if len(one[-1])]
    chances = holm([sign_test(values, -values) for *_, values in kept]) if kept else []
    wins = []
    for (one, other, by, verdicts, values), chance in zip(kept, chances, strict=True):
        rate = estimate([(values + 1) / 2])
        won, tied, lost = (int((values == sign).sum()) for sign in (1, 0, -1))
        wins.append(Wins(one, other, by, won, tied, lost, rate.figure, rate.low, rate.high, chance, tuple(verdicts)))
    return wins
