"""Models answer the same prompts, and are judged: one call, one record of all that was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from bothways.arguments import checked
from bothways.errors import UsageError
from bothways.evaluation.judging.answers import RunAnswers, answered, asked_as
from bothways.evaluation.judging.judgement import Judgement, scores_of
from bothways.evaluation.judging.prompts import JudgePrompt, read_prompts
from bothways.evaluation.judging.verdicts import RULES, ModelJudge, by_rules, wins_of
from bothways.evaluation.probing import names_of
from bothways.inference import GenerationOptions, LanguageModel, load
from bothways.machine import device_of

Place = str | Path


@checked
def judge(
    models: Place | Sequence[Place] | Mapping[str, LanguageModel | Place],
    *,
    prompts: Place,
    judge: LanguageModel | Place | None = None,
    options: GenerationOptions | None = None,
    device: torch.device | str | None = None,
) -> Judgement:
    """Asks every model every prompt, and says how well each answers, and which is better.

    Args:
        models: runs, folders, names of the hub or GGUF files; or {name: any of these, or a model}.
        prompts: a file of records: prompt (or messages), and reference and rules where they are known.
        judge: a model that compares answers two by two, in both orders; None: rules and references alone do.
        options: how they answer; None: the likeliest token every time, at most 128 tokens, or as a model was fine-tuned
            to write.
        device: where models that are opened compute; None: on a GPU when there is one.

    Raises:
        DataError: no prompts, or one that does not read; it is named by its line.
        ModelError: a model that cannot be opened, does not write, or has no chat template for messages.
        UsageError: no models, or one twice.
    """
    asked, place = read_prompts(Path(prompts)), device_of(device)
    opened = {name: _opened(one, place) for name, one in _named(models)}
    judging = None
    if judge is not None:
        judging = ModelJudge.of(Path(judge).name if isinstance(judge, Place) else "judge", _opened(judge, place))
    for name, model in opened.items():  # before the first is asked, which takes a while
        asked_as(model, asked, name)
    found = [answered(name, model, asked, options) for name, model in opened.items()]
    pairs = list(combinations(found, 2))
    told: list[Any] = [(one.name, other.name, RULES, by_rules(one, other)) for one, other in pairs]
    bias = None
    if judging is not None:
        told += [(one.name, other.name, judging.name, _judged(judging, asked, one, other)) for one, other in pairs]
        bias = judging.bias(asked)
    scores = tuple(score for run in found for score in scores_of(run))
    return Judgement(tuple(asked), tuple(found), scores, tuple(wins_of(told)), bias)


def _opened(model: Any, device: torch.device) -> LanguageModel:
    return model if isinstance(model, LanguageModel) else load(model, device=device)


def _judged(judge: ModelJudge, prompts: Sequence[JudgePrompt], one: RunAnswers, other: RunAnswers) -> list[int | None]:
    pairs = zip(one.answers, other.answers, strict=True)
    return judge.verdicts(prompts, [(mine.text, theirs.text) for mine, theirs in pairs])


def _named(models: Any) -> Iterator[tuple[str, Any]]:
    """(name, model or where it is)."""
    if isinstance(models, Mapping):
        named = dict(models)
    else:
        several = [models] if isinstance(models, str | Path) else list(models)
        names = names_of(several)
        if twice := next((one for one in names if names.count(one) > 1), None):
            raise UsageError(f"expected different models to judge, got {twice} twice")
        named = dict(zip(names, several, strict=True))
    if not named:
        raise UsageError("expected models to judge, got none")
    yield from named.items()
