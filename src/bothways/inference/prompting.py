"""A model asked for labels by a pattern, without being trained to them: a word filled in, or a text gone on with.

A model that fills reads the pattern with [MASK] in it, and a label's score is the sum of log p of its word's tokens, as
`tasks.pattern.Slots` has it. One that goes on with a text reads what stands before [MASK], and the score is the mean of
log p over the tokens of the word, since a word of two tokens would else always lose to one of one, and the sum of log p
of what stands behind it.

Letters: T texts (of a batch, tokens), C labels, B rows, S masks in all rows of a text, N places, V vocabulary.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from bothways.arguments import shown
from bothways.errors import UsageError, unknown
from bothways.inference.asking import PromptKwargs
from bothways.inference.engine import Engine
from bothways.inference.score import continued
from bothways.tasks.labels import label_name
from bothways.tasks.pattern import Pattern, Slots, Verbaliser, at_mask, shorter, words_of
from bothways.tasks.predictions import Label, softmax
from bothways.visibility import Layout

CONTENT_FREE = ("N/A", "", "[MASK]")
"""Texts that say nothing (Zhao et al. 2021, section 5)."""
BETWEEN = "\n"
"""What stands between an example and the next text."""
How = Literal["fill", "continue"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """How texts are asked about.

    verbaliser  {label: its word}
    examples    (texts, label) that are shown before every text, the last one nearest to it
    calibrate   scores less those of texts that say nothing (contextual calibration, Zhao et al. 2021, section 5)
    how         "fill" or "continue"; None: by filling, where the model can

    Raises:
        UsageError: a verbaliser that does not serve, or an example with a label that it does not have.
    """

    pattern: Pattern
    verbaliser: Mapping[str, str]
    examples: Sequence[tuple[tuple[str, ...], str]] = ()
    calibrate: bool = False
    how: How | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "verbaliser", words_of(self.verbaliser))
        if odd := next((label for _, label in self.examples if label not in self.verbaliser), None):
            raise UsageError(f"an example has the label {odd!r}; the verbaliser has: {', '.join(self.verbaliser)}")

    @property
    def shown(self) -> list[str]:
        """The examples with the words of their labels."""
        filled = ((self.pattern.sides(texts), self.verbaliser[label]) for texts, label in self.examples)
        return [f"{before}{word}{after}{BETWEEN}" for (before, after), word in filled]


@dataclass(slots=True)
class LabelScores:
    """What a prompt gave.

    scores   float64 [T, C]: log p of each label's word, before a softmax; calibrated, if that was asked for
    cut      how many texts lost their end, since the model reads no more
    dropped  how many texts were read without all of the examples, since they did not fit
    tokens   of the examples that are shown
    """

    labels: tuple[str, ...]
    scores: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    cut: int = 0
    dropped: int = 0
    tokens: int = 0

    def predictions(self) -> list[Label]:
        """The likeliest label of each text, with the probability of each among them."""
        found = softmax(self.scores)
        return [
            Label(self.labels[int(one.argmax())], dict(zip(self.labels, one.tolist(), strict=True))) for one in found
        ]

    def warnings(self) -> list[str]:
        """What was cut or dropped, in sentences."""
        said = [(self.cut, "cut to what the model reads beside the pattern: {} of {} texts")]
        said += [(self.dropped, "read without all examples, which do not fit: {} of {} texts")]
        return [line.format(count, len(self.scores)) for count, line in said if count]


def way_of(engine: Engine, how: How | None = None) -> How:
    """How a model is asked: as is wanted, or else by filling where it can.

    Raises:
        ModelError: it was taught neither, or not that.
    """
    if how is None:
        how = "continue" if engine.abilities.hidden is None and "decoder" in engine.abilities.faces else "fill"
    engine.needs("hidden" if how == "fill" else "decoder")
    return how


def ask(engine: Engine, prompt: Prompt, texts: Sequence[tuple[str, ...]]) -> LabelScores:
    """The score of each label for each example's texts.

    Raises:
        ModelError: the objective did not teach it to fill, or to go on with a text.
        UsageError: a word that is no such token, texts that are too few, or a pattern longer than the model reads.
    """
    asked = LabelScores(tuple(prompt.verbaliser), tokens=sum(map(len, engine.tokenizer.encode_batch(prompt.shown))))
    if not texts:
        asked.scores = np.zeros((0, len(asked.labels)))
        return asked
    scores = _filled if way_of(engine, prompt.how) == "fill" else _continued
    asked.scores = scores(engine, prompt, texts, asked)
    if prompt.calibrate:
        nothing = [(text,) * len(prompt.pattern.fields) for text in CONTENT_FREE]
        silent = replace(engine, watch=lambda share: None)
        alone = softmax(scores(silent, prompt, nothing, LabelScores(asked.labels))).mean(0)
        asked.scores = asked.scores - np.log(alone)
    return asked


@dataclass(frozen=True, slots=True)
class Cloze:
    """One text's rows, with 1, 2, ... masks as many as `lengths` says, which begin at `start`."""

    rows: tuple[np.ndarray, ...]
    lengths: tuple[int, ...]
    start: int

    def __len__(self) -> int:
        return sum(map(len, self.rows))

    def places(self, engine: Engine) -> list[np.ndarray]:
        """Of each row, where the tokens of its masks are predicted."""
        before = engine.abilities.hidden == "before"
        return [self.start - before + np.arange(length) for length in self.lengths]


def clozes_of(
    engine: Engine,
    pattern: Pattern,
    texts: Sequence[tuple[str, ...]],
    lengths: tuple[int, ...],
    asked: LabelScores,
    shown: Sequence[str] = (),
) -> list[Cloze]:
    """What a model reads that fills, behind the examples that are `shown`; counted in `asked` is what did not fit.

    Raises:
        UsageError: the pattern alone is longer than the model reads.
    """
    opening, closing = engine.around(closed=True)
    tokenizer, mask = engine.tokenizer, engine.tokenizer.vocabulary.mask

    def halves(before: str, after: str) -> tuple[list[int], list[int]]:
        left, right, _ = at_mask(tokenizer, before, after)
        return [*opening, *tokenizer.encode(left)], [*tokenizer.encode(right), *closing]

    def size(before: str, after: str) -> int:
        return max(lengths) + sum(map(len, halves(before, after)))

    found = []
    for before, after in fitted(engine, pattern, texts, size, asked, shown):
        left, right = halves(before, after)
        rows = (np.array([*left, *[mask] * length, *right], dtype=np.int64) for length in lengths)
        found.append(Cloze(tuple(rows), lengths, len(left)))
    return found


def collated(engine: Engine, clozes: Sequence[Cloze]) -> tuple[Tensor, Layout, Tensor]:
    """Their rows as one batch: tokens [B, T], the layout, and the places [N] of the flat batch where words are
    predicted, in order."""
    tokens, layout = engine.collate([row for one in clozes for row in one.rows], face="encoder")
    places = [some for one in clozes for some in one.places(engine)]
    at = np.concatenate([row * tokens.shape[1] + some for row, some in enumerate(places)])
    return tokens, layout, torch.from_numpy(at).to(engine.device)


@torch.inference_mode()
def _filled(engine: Engine, prompt: Prompt, texts: Sequence[tuple[str, ...]], asked: LabelScores) -> np.ndarray:
    slots = Slots.of(prompt.pattern, prompt.verbaliser, engine.tokenizer)
    clozes = clozes_of(engine, prompt.pattern, texts, slots.lengths, asked, prompt.shown)
    found = np.zeros((len(texts), len(slots.labels)))
    for batch in engine.passes([len(one) for one in clozes]):
        tokens, layout, at = collated(engine, [clozes[i] for i in batch])
        words = engine.logits(engine.states(tokens, layout, at=at)).log_softmax(-1)  # [B * S, V]
        found[batch] = slots.scores(words).cpu().numpy()
    return found


def _continued(engine: Engine, prompt: Prompt, texts: Sequence[tuple[str, ...]], asked: LabelScores) -> np.ndarray:
    opening, _ = engine.around(closed=False)
    words = list(prompt.verbaliser.values())

    def parted(before: str, word: str, after: str) -> tuple[list[int], np.ndarray]:
        """The tokens of a whole text, and what those weigh that hold something of the word or stand behind it."""
        tokens, spans = engine.tokenizer.encode_spans(before + word + after)
        asked_for = spans[spans[:, 1] > len(before.rstrip())]
        own = asked_for[:, 0] < len(before + word)
        nothing = engine.tokenizer.nothing if len(asked_for) == len(tokens) else ()  # before it, where nothing stands
        return [*(opening or nothing), *tokens.tolist()], np.where(own, 1 / max(1, own.sum()), 1.0)

    def size(before: str, after: str) -> int:
        return max(len(parted(before, word, after)[0]) for word in words)

    rows, weights = [], []
    for before, after in fitted(engine, prompt.pattern, texts, size, asked, prompt.shown):
        for word in words:
            row, some = parted(before, word, after)
            if not len(some):
                expected = "a word that the tokenizer keeps"
                raise UsageError(f"pattern {prompt.pattern.text!r}: expected {expected}, got {word!r}")
            rows.append(np.array(row, dtype=np.int64))
            weights.append(some)
    return continued(engine, rows, weights).reshape(len(texts), len(words))


def fitted(
    engine: Engine,
    pattern: Pattern,
    texts: Sequence[tuple[str, ...]],
    size: Callable[[str, str], int],
    asked: LabelScores,
    shown: Sequence[str] = (),
) -> Iterator[tuple[str, str]]:
    """What stands before the word and behind it, of every text: of the examples that are `shown` as many as fit beside
    the whole text, from the last one on; then of the text what fits. `size` counts the tokens of both sides.

    Raises:
        UsageError: the pattern alone is longer than the model reads.
    """
    for given in texts:
        own = list(given)
        before, after = pattern.sides(own)
        first = 0
        while first < len(shown) and size("".join(shown[first:]) + before, after) > engine.length:
            first += 1
        examples = "".join(shown[first:])
        while (over := size(examples + before, after) - engine.length) > 0:
            if not any(own):
                raise UsageError(
                    f"pattern {pattern.text!r} has {size(before, after)} tokens without a text; the model reads at "
                    f"most {engine.length}. Write a shorter one"
                )
            own = shorter(engine.tokenizer, own, over)
            before, after = pattern.sides(own)
        asked.cut += own != list(given)
        asked.dropped += first > 0
        yield examples + before, after


def prompted(
    engine: Engine,
    texts: Sequence[str | tuple[str, str]],
    pattern: str,
    verbaliser: Verbaliser,
    asking: PromptKwargs,
) -> list[Label]:
    """The label of each text or pair; with a warning where something did not fit.

    Raises:
        UsageError: as `Pattern.parse`, `Prompt` and `ask`; or examples that are no texts with labels.
    """
    how = asking.get("how")
    if how is not None and how not in get_args(How):
        raise unknown("way of asking", how, get_args(How))
    examples = [_example(number, one) for number, one in enumerate(asking.get("examples", ()), 1)]
    made = Prompt(Pattern.parse(pattern), words_of(verbaliser), examples, asking.get("calibrate", True), how)
    asked = ask(engine, made, [one if isinstance(one, tuple) else (one,) for one in texts])
    for line in asked.warnings():
        warnings.warn(line, stacklevel=4)  # the line that called the model's method
    return asked.predictions()


def _example(number: int, value: object) -> tuple[tuple[str, ...], str]:
    texts, label = value if isinstance(value, tuple | list) and len(value) == 2 else (None, None)
    texts = (texts,) if isinstance(texts, str) else texts
    name = label_name(label)
    if not isinstance(texts, tuple | list) or not all(isinstance(one, str) for one in texts) or name is None:
        raise UsageError(f"example {number}: expected a text, or a pair of them, and its label, got {shown(value)}")
    return tuple(texts), name
