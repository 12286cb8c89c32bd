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
from bothways.inference.decoding.options import JUDGED, GenerationOptions, GenerationRequest
from bothways.inference.engine import Engine
from bothways.inference.score import score_after
from bothways.inference.writing import chatting_as, usual_options
from bothways.tasks.text_scores import same_text


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
    none, it is longer than the model reads, or the model cannot say, float64 [P, 3]."""

    name: str
    way: str
    answers: tuple[JudgedAnswer, ...]
    references: np.ndarray


def asked_as(model: LanguageModel, prompts: Sequence[JudgePrompt], name: str) -> tuple[Engine, str]:
    """The model as it answers, and how it is asked, see `RunAnswers`.

    Raises:
        ModelError: it does not write; it writes for several tasks, of which none is of messages; or it has no chat
            template, and there are prompts of several messages.
    """
    try:
        engine = chatting_as(model.engine)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from None
    if not engine.abilities.generates:
        raise ModelError(f"{name} was not taught to write, so it answers nothing: leave it out")
    if engine.writes and not engine.writes.chat:
        way = "task"
    else:
        way = "chat" if model.tokenizer.chat else "text"
    talk = next((one for one in prompts if not one.plain), None)
    if talk is not None and way != "chat":
        raise ModelError(
            f"{name} has no chat template, and prompt {talk.name} is messages: give it as a text in prompt, or leave "
            "the model out"
        )
    return engine, way


def answered(
    name: str, model: LanguageModel, prompts: Sequence[JudgePrompt], options: GenerationOptions | None
) -> RunAnswers:
    """All answers of a model; `options` None: as it was fine-tuned to write, else the likeliest token every time.

    Raises:
        ModelError: as `asked_as`.
        UsageError: what its chat template refuses.
    """
    engine, way = asked_as(model, prompts, name)
    chosen = options or (usual_options(engine.writes) if engine.writes else GenerationOptions(**JUDGED))
    asked = [_tokens(engine, one, way) for one in prompts]
    given: list[Any] = [one.text for one in prompts] if way == "task" else asked
    made = generate(engine, GenerationRequest.each(given, chosen))
    found = [
        _answer(one.text.strip(), one.finish_reason == "stop", two) for one, two in zip(made, prompts, strict=True)
    ]
    return RunAnswers(name, way, tuple(found), _references(engine, prompts, asked, way))


def _answer(text: str, finished: bool, prompt: JudgePrompt) -> JudgedAnswer:
    exact = same_text(text, prompt.references) if prompt.references else None
    return JudgedAnswer(text, finished, obeyed(text, prompt.rules), exact, refuses(text))


def _tokens(engine: Engine, prompt: JudgePrompt, way: str) -> np.ndarray:
    """A prompt as it is read, int64 [T], with what stands before every text; a template is told the same time on every
    day."""
    if way == "chat":
        return chat_prompt(engine, prompt.messages)
    before, _ = engine.around(closed=False)
    return np.array([*before, *engine.tokenizer.encode(prompt.text)], dtype=np.int64)


def _references(engine: Engine, prompts: Sequence[JudgePrompt], asked: Sequence[np.ndarray], way: str) -> np.ndarray:
    found = np.zeros((len(prompts), 3))
    known = [number for number, one in enumerate(prompts) if one.references]
    causal = "decoder" in engine.abilities.faces
    if way == "task" or not causal or not known:
        return found
    pairs = [_pair(engine, prompts[number], asked[number], way) for number in known]
    sums, counts = score_after(engine, [prompt for prompt, _ in pairs], [text for _, text in pairs])
    sizes = [len(prompts[number].references[0].encode()) for number in known]
    counts[counts < [len(text) for _, text in pairs]] = 0  # longer than the model reads: its bytes are not those read
    found[known] = np.stack([-sums, counts, np.array(sizes)], axis=1)
    return found


def _pair(engine: Engine, prompt: JudgePrompt, asked: np.ndarray, way: str) -> tuple[np.ndarray, np.ndarray]:
    """A prompt and its first reference in tokens. Where the reference goes on with the prompt's text, both are cut into
    tokens together, and what stands there as without it is the prompt."""
    reference = prompt.references[0]
    if way == "chat":
        return asked, np.array(engine.tokenizer.encode(reference), dtype=np.int64)
    before, _ = engine.around(closed=False)
    whole = np.array([*before, *engine.tokenizer.encode(prompt.text + reference)], dtype=np.int64)
    shared = min(len(asked), len(whole) - 1)
    same = np.append(asked[:shared] == whole[:shared], False)
    first = int(np.argmin(same))
    return whole[:first], whole[first:]
