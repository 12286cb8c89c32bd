"""The best of several answers, by a reward model or by a function (WebGPT, Nakano et al. 2021, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

from bothways.arguments import Texts, at_least, several
from bothways.errors import UsageError
from bothways.inference.decoding.options import Generation
from bothways.inference.language_model import LanguageModel

Rate = Callable[[str, str], float]
"""(prompt, answer) -> how good the answer is, larger is better."""


@dataclass(frozen=True, slots=True)
class BestOf:
    """The best of several generations, with the others of them behind it, and the reward of each, the best first;
    printed, it is the text of the best."""

    best: Generation
    rewards: tuple[float, ...]

    def __str__(self) -> str:
        return self.best.text


@overload
def best_of(
    model: LanguageModel, prompts: str, reward: LanguageModel | Rate, *, n: int = 8, **options: Any
) -> BestOf: ...
@overload
def best_of(
    model: LanguageModel, prompts: Texts, reward: LanguageModel | Rate, *, n: int = 8, **options: Any
) -> list[BestOf]: ...
def best_of(
    model: LanguageModel, prompts: str | Texts, reward: LanguageModel | Rate, *, n: int = 8, **options: Any
) -> BestOf | list[BestOf]:
    """Generates `n` texts for each prompt and takes the one that is rewarded most; of equals the first.

    Args:
        reward: a model that was fine-tuned to reward, or a function (prompt, answer) -> number.
        options: of `LanguageModel.generate`; where no temperature is named, texts are sampled at 1.

    Raises:
        ModelError: as `LanguageModel.generate`; or the reward model was not fine-tuned to reward.
        UsageError: the same; or fewer than one text, or a reward that is no finite number.
    """
    at_least(1, "n", n, "how many texts the best is chosen from")
    if not isinstance(reward, LanguageModel) and not callable(reward):
        raise UsageError(f"reward: expected a model that was fine-tuned to reward, or a function, got {reward!r:.60}")
    given = several(prompts)
    sampled = {"temperature": 1.0} if n > 1 and not options.get("num_beams") else {}
    found = model.generate(given, **{**sampled, **options, "num_return_sequences": n})
    chosen = rewarded(given, found, reward)
    return chosen[0] if isinstance(prompts, str) else chosen


def rewarded(prompts: Sequence[str], found: Sequence[Generation], reward: LanguageModel | Rate) -> list[BestOf]:
    """What was generated for each prompt, the best first."""
    texts = [(prompt, one.text) for prompt, first in zip(prompts, found, strict=True) for one in (first, *first.others)]
    rewards = iter(_rewards(reward, texts))
    return [ranked(one, [next(rewards) for _ in (one, *one.others)]) for one in found]


def _rewards(reward: LanguageModel | Rate, texts: Sequence[tuple[str, str]]) -> list[float]:
    """Of each pair of a prompt and an answer."""
    if isinstance(reward, LanguageModel):
        return [one.reward for one in reward.predict("reward", texts)]
    return [reward_of(reward(*pair), "reward") for pair in texts]


def reward_of(value: object, called: str) -> float:
    """What a function of the user's own returned, as a number.

    Raises:
        UsageError: no finite number; `called` says of what.
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{called}: expected a number, got {value!r:.60}")
    return number


def ranked(found: Generation, rewards: Sequence[float]) -> BestOf:
    """The texts of a prompt, the best first."""
    every = [replace(found, others=()), *found.others]
    order = sorted(range(len(every)), key=lambda i: -rewards[i])
    first, *others = (every[i] for i in order)
    return BestOf(replace(first, others=tuple(others)), tuple(rewards[i] for i in order))
