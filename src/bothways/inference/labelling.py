"""What a fine-tuned model says of texts: a label with its chances, a number, a choice, an answer, a tag a word."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bothways.errors import ModelError, UsageError
from bothways.inference.answering import chances, logits_of, whole
from bothways.inference.engine import Engine
from bothways.inference.examples import Encoded, encode_texts, encode_words
from bothways.inference.schemes import scheme_of
from bothways.inference.spans import QUESTION, Span, best_span, encode_question
from bothways.inference.words import Entity, Words, entities
from bothways.model import Answers
from bothways.text import Tokenizer

_TEXTS = {1: "one text", 2: "two texts"}
Text = str | tuple[str, str]
Texts = Sequence[Text]


@dataclass(frozen=True, slots=True)
class Label:
    """The likeliest label, or all that are likelier than not where several may be right; and the chance of each."""

    label: str | list[str]
    probabilities: dict[str, float]


@dataclass(frozen=True, slots=True)
class Choice:
    """The number of the choice, from 0, and the chance of each."""

    choice: int
    probabilities: list[float]


@dataclass(frozen=True, slots=True)
class Tagged:
    """The words of a text, the tag of each and its chance, and the names that they make up."""

    words: list[str]
    tags: list[str]
    probabilities: list[float]
    entities: list[Entity]


def classify(engine: Engine, texts: Texts) -> list[Label]:
    """
    Raises:
        ModelError: the model was not fine-tuned to.
    """
    answers = taught(engine, "classify")
    return [label_of(one, answers) for one in _logits(engine, texts, answers)]


def regress(engine: Engine, texts: Texts) -> np.ndarray:
    """A number a text or pair, float32 [texts].

    Raises:
        ModelError: the model was not fine-tuned to.
    """
    return np.array([one[0] for one in _logits(engine, texts, taught(engine, "regress"))], dtype=np.float32)


def tag(engine: Engine, texts: Sequence[str | list[str]]) -> list[Tagged]:
    """Texts, or lists of their words. A text longer than the model reads is read in parts.

    The words of a text are its characters where the model was taught so.

    Raises:
        ModelError: the model was not fine-tuned to.
    """
    answers = taught(engine, "tag")
    length = engine.length
    found = [words_of(text, answers) for text in texts]
    parts = [encode_words(engine.tokenizer, words, length=length) for words in found]
    logits = iter(logits_of(engine.model, [part for some in parts for part in some], answers))
    return [
        tagged(words, whole(some, [next(logits) for _ in some], count=len(words), labels=len(answers.labels)), answers)
        for words, some in zip(found, parts, strict=True)
    ]


def choose(engine: Engine, question: str, choices: Sequence[str], *, context: str = "") -> Choice:
    """
    Raises:
        ModelError: the model was not fine-tuned to.
        UsageError: nothing to choose from.
    """
    if len(choices) < 2:
        raise UsageError(f"expected two choices or more, got {len(choices)}")
    answers = taught(engine, "choose")
    parts = encode_choices(engine.tokenizer, context, question, choices, length=engine.length)
    warn_of_cuts(parts, f"the {engine.length} tokens that the model reads")
    return choice_of(np.array([one[0, 0] for one in logits_of(engine.model, parts, answers)]))


def answer(engine: Engine, question: str, context: str) -> Span:
    """
    Raises:
        ModelError: the model was not fine-tuned to.
    """
    answers = taught(engine, "answer")
    parts = encode_question(engine.tokenizer, question, context, length=engine.length)
    warn_of_cuts(parts[:1], f"the {QUESTION} tokens of a question that the model reads")
    logits, declines = logits_of(engine.model, parts, answers), answers.kind == "span or none"
    return best_span(engine.tokenizer, context, parts, logits, may_decline=declines)


def encode_choices(
    tokenizer: Tokenizer, context: str, question: str, choices: Sequence[str], *, length: int
) -> list[Encoded]:
    """A pair for each choice: what is known, and the question with the choice."""
    second = [f"{question} {choice}" for choice in choices]
    pairs = [(context, text) for text in second] if context else [(question, choice) for choice in choices]
    return [encode_texts(tokenizer, pair, length=length) for pair in pairs]


def choice_of(logits: np.ndarray) -> Choice:
    """logits [choices]."""
    shifted = np.exp(logits - logits.max())
    return Choice(int(logits.argmax()), (shifted / shifted.sum()).astype(float).tolist())


def label_of(logits: np.ndarray, answers: Answers) -> Label:
    """logits [C]. Without thresholds, the likeliest label, or all that are likelier than not."""
    found = chances(logits.astype(np.float64), answers)
    named = {label: float(chance) for label, chance in zip(answers.labels, found, strict=True)}
    if answers.kind == "several":
        from_on = answers.thresholds or (0.5,) * len(answers.labels)
        return Label(
            [label for label, limit in zip(answers.labels, from_on, strict=True) if named[label] >= limit], named
        )
    if answers.thresholds:
        return Label(answers.labels[int(found[1] >= answers.thresholds[0])], named)
    return Label(answers.labels[int(found.argmax())], named)


def tagged(words: Words, logits: np.ndarray, answers: Answers) -> Tagged:
    """logits [W, C], nan for a word that the model never saw: it is outside of everything."""
    known, scheme = ~np.isnan(logits[:, 0]), scheme_of(answers.labels)
    found = chances(np.where(known[:, None], logits, 0.0).astype(np.float64), answers)
    best = found.argmax(-1)
    tags = [answers.labels[number] if there else scheme.outside for number, there in zip(best, known, strict=True)]
    sure = [float(chance) if there else 1.0 for chance, there in zip(found.max(-1), known, strict=True)]
    return Tagged([words[i] for i in range(len(words))], tags, sure, list(entities(words, tags, scheme)))


def expect_words(words: Words, answers: Answers) -> None:
    """
    Raises:
        UsageError: characters of a text for a model that was taught its words, or the other way round.
    """
    if words.by in ("text", "characters") and (words.by == "characters") != answers.characters:
        ways = ("the words of a text", "its characters")[:: -1 if answers.characters else 1]
        raise UsageError(f"expected {ways[0]}, as the model was trained on, got {ways[1]}")


def words_of(text: str | list[str], answers: Answers) -> Words:
    """Those that are given, or those of a text, parted as the model was taught."""
    return Words.of(text, characters=answers.characters) if isinstance(text, str) else Words.joined(text)


def warn_of_cuts(examples: Sequence[Encoded], limit: str, *, depth: int = 5) -> None:
    """A UserWarning: nothing is left out silently. `depth` calls up is the line that asked."""
    if cut := sum(one.cut > 0 for one in examples):
        warnings.warn(f"cut to {limit}: {cut} of {len(examples)} texts", stacklevel=depth)


def expected(texts: tuple[str, ...], answers: Answers) -> tuple[str, ...]:
    """One text or two, as the model was trained on.

    Raises:
        UsageError: the other way round.
    """
    if answers.texts and len(texts) != answers.texts:
        got = _TEXTS.get(len(texts), f"{len(texts)} texts")
        raise UsageError(f"expected {_TEXTS[answers.texts]}, as the model was trained on, got {got}")
    return texts


def taught(engine: Engine, task: str) -> Answers:
    """
    Raises:
        ModelError: the model was not fine-tuned to that task.
    """
    answers = engine.trained.answers
    if answers is None or answers.task != task:
        was = "not fine-tuned" if answers is None else f"fine-tuned to {answers.task}"
        raise ModelError(f"this model was {was}. Fine-tune one: bothways finetune MODEL --task {task} --train FILE")
    return answers


def _logits(engine: Engine, texts: Texts, answers: Answers) -> list[np.ndarray]:
    """[C] for each text or pair; what is longer than the model reads is cut, with a warning."""
    several = [expected((text,) if isinstance(text, str) else text, answers) for text in texts]
    examples = [encode_texts(engine.tokenizer, one, length=engine.length) for one in several]
    warn_of_cuts(examples, f"the {engine.length} tokens that the model reads", depth=6)
    return [found[0] for found in logits_of(engine.model, examples, answers)]
