"""What a model answers to every prompt, and how probable it finds the references.

Letters: P prompts, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bothways.errors import ModelError
from bothways.evaluation.judging.prompts import JudgePrompt
from bothways.evaluation.judging.rules import obeyed, refuses
from bothways.inference import LanguageModel
from bothways.inference.chatting import chat_prompt
from bothways.inference.decoding.generate import generate
from bothways.inference.decoding.options import GenerationOptions, GenerationRequest
from bothways.inference.score import score_after
from bothways.inference.writing import chatting_as, usual_options, writing_as


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """text      as the model wrote it, without the white space around it
    finished  whether it ended by itself
    rules     {rule of the prompt: whether it is obeyed}
    exact     whether it is one of the references, but for white space; None: there are none
    refused   by `rules.REFUSALS`
    """

    text: str
    finished: bool
    rules: dict[str, bool]
    exact: bool | None
    refused: bool


@dataclass(frozen=True, slots=True)
class RunAnswers:
    """One model's: how it was asked ("chat" by its template, "text" gone on with, "task" as it was fine-tuned to
    write); of every prompt the answer; and of its first reference the nats, tokens and bytes, 0 tokens where there is
    none or the model cannot say, float64 [P, 3]."""

    name: str
    way: str
    answers: tuple[JudgedAnswer, ...]
    references: np.ndarray


def way_of(model: LanguageModel, prompts: Sequence[JudgePrompt], name: str) -> str:
    """How a model is asked.

    Raises:
        ModelError: it has no chat template, and there are prompts of several messages.
    """
    writers = model.engine.abilities.writers.values()
    if writers and not any(head.writes and head.writes.chat for head in writers):
        way = "task"
    else:
        way = "chat" if model.tokenizer.chat else "text"
    talk = next((one for one in prompts if not one.plain), None)
    if talk is not None and way != "chat":
        raise ModelError(
            f"{name} has no chat template, and prompt {talk.name} is messages: give it as a text in prompt, or leave "
            "the model out"
        )
    return way


def answered(
    name: str, model: LanguageModel, prompts: Sequence[JudgePrompt], options: GenerationOptions | None
) -> RunAnswers:
    """All answers of a model; `options` None: as it was fine-tuned to write, else the likeliest token every time.

    Raises:
        ModelError: it does not write, or was not taught to chat.
        UsageError: what its chat template refuses.
    """
    way = way_of(model, prompts, name)
    engine = {"task": writing_as, "chat": chatting_as}.get(way, lambda own: own)(model.engine)
    chosen = options or (usual_options(engine.writes) if engine.writes else usual())
    asked = [_tokens(model, one, way) for one in prompts]
    given: list[Any] = [one.text for one in prompts] if way == "task" else asked
    requests = [GenerationRequest(one, chosen, (chosen.seed, number)) for number, one in enumerate(given)]
    made = generate(engine, requests)
    found = [
        _answer(one.text.strip(), one.finish_reason == "stop", two) for one, two in zip(made, prompts, strict=True)
    ]
    return RunAnswers(name, way, tuple(found), _references(model, prompts, asked, way))


def usual() -> GenerationOptions:
    """How a model that was not fine-tuned to write is asked."""
    return GenerationOptions(temperature=0.0, max_new_tokens=128)


def _answer(text: str, finished: bool, prompt: JudgePrompt) -> JudgedAnswer:
    words = [one.split() for one in prompt.references]
    exact = text.split() in words if words else None
    return JudgedAnswer(text, finished, obeyed(text, prompt.rules), exact, refuses(text))


def _tokens(model: LanguageModel, prompt: JudgePrompt, way: str) -> np.ndarray:
    """A prompt as it is read, int64 [T], with what stands before every text."""
    if way == "chat":
        return chat_prompt(chatting_as(model.engine), prompt.messages)
    before, _ = model.engine.around(closed=False)
    return np.array([*before, *model.tokenizer.encode(prompt.text)], dtype=np.int64)


def _references(
    model: LanguageModel, prompts: Sequence[JudgePrompt], asked: Sequence[np.ndarray], way: str
) -> np.ndarray:
    found = np.zeros((len(prompts), 3))
    known = [number for number, one in enumerate(prompts) if one.references]
    causal = "decoder" in model.engine.abilities.faces
    if way == "task" or not causal or not known:
        return found
    pairs = [_pair(model, prompts[number], asked[number], way) for number in known]
    sums, counts = score_after(model.engine, [prompt for prompt, _ in pairs], [text for _, text in pairs])
    sizes = [len(prompts[number].references[0].encode()) for number in known]
    found[known] = np.stack([-sums, counts, np.array(sizes)], axis=1)
    return found


def _pair(model: LanguageModel, prompt: JudgePrompt, asked: np.ndarray, way: str) -> tuple[np.ndarray, np.ndarray]:
    """A prompt and its first reference in tokens. Where the reference goes on with the prompt's text, both are cut into
    tokens together, and what stands there as without it is the prompt."""
    reference = prompt.references[0]
    if way == "chat":
        return asked, np.array(model.tokenizer.encode(reference), dtype=np.int64)
    before, _ = model.engine.around(closed=False)
    whole = np.array([*before, *model.tokenizer.encode(prompt.text + reference)], dtype=np.int64)
    shared = min(len(asked), len(whole) - 1)
    same = np.append(asked[:shared] == whole[:shared], False)
    first = int(np.argmin(same))
    return whole[:first], whole[first:]
