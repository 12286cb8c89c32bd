"""A model asked about the records of a file by a pattern: predictions, and scores where labels are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bothways.claims import claimed
from bothways.corpus.lines import Skip
from bothways.corpus.records import field_names
from bothways.errors import DataError, UsageError
from bothways.files import whole_file
from bothways.inference.engine import Engine
from bothways.inference.label_words import LabelWord, label_words
from bothways.inference.prompting import How, LabelScores, Prompt, ask
from bothways.model import TaskHead
from bothways.statistics import bootstrap
from bothways.tasks.classify import Classify
from bothways.tasks.labels import spellings
from bothways.tasks.pattern import Pattern, words_of
from bothways.tasks.reading import enough, read_examples, streamed
from bothways.tasks.records import Columns, column_of, refuse
from bothways.tasks.task import Example
from bothways.training.finetuning.baselines import worth
from bothways.training.finetuning.evaluate import Evaluation
from bothways.training.finetuning.predict import check_out, nobody
from bothways.training.finetuning.tuned import in_parts
from bothways.training.prompting.config import PromptConfig

Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PromptFile:
    """What a file gave.

    count       records that were asked about
    evaluation  scores, with "intervals"; None where the file has no labels
    shown       how many examples stood before every text, and `tokens` of them
    notes       what was cut or dropped, in sentences
    """

    count: int
    evaluation: Evaluation | None
    shown: int
    tokens: int
    notes: list[str] = field(default_factory=list)


def prompt_file(
    engine: Engine,
    file: Path,
    config: PromptConfig,
    *,
    out: Path | None = None,
    columns: Mapping[str, str] | None = None,
    skip: Skip = refuse,
    show: Callable[[Columns], None] = nobody,
) -> PromptFile:
    """Asks about every record of a file, in order; with `out`, a line of JSON for each is written there, as
    `bothways predict` does. Where the file has labels, they are measured by.

    Raises:
        DataError: a record that cannot be read, or whose label has no word, unless such are skipped.
        UsageError: a pattern, verbaliser or examples that do not serve; or `out` is the file that is read.
    """
    if out is not None:
        check_out(out, file)
    pattern = Pattern.parse(config.pattern)
    words = words_of(config.verbaliser or "")
    prompt = Prompt(pattern, words, shots(config, pattern, words, columns, skip), config.calibrate, config.how)
    given = {**pattern.columns, **(columns or {})}
    gold = "label" in given or column_of("label", field_names(file)) is not None
    read, examples = streamed(Classify(), file, given=given, skip=skip, gold=gold)
    show(read)
    known = _labelled(examples, prompt.verbaliser, skip) if gold else examples
    total, kept, predictions = LabelScores(tuple(prompt.verbaliser)), list[Example](), list[dict[str, Any]]()

    def lines() -> Iterator[dict[str, Any]]:
        for some in in_parts(known):
            asked = ask(engine, prompt, [texts_of(one, pattern) for one in some])
            total.cut, total.dropped = total.cut + asked.cut, total.dropped + asked.dropped
            total.tokens, total.scores = asked.tokens, np.zeros((len(total.scores) + len(some), 0))
            found = [asdict(one) for one in asked.predictions()]
            if gold:
                kept.extend(some)
                predictions.extend(found)
            yield from ({"id": example.id, **one} for example, one in zip(some, found, strict=True))

    count = _write(out, lines())
    enough(range(count), file, "to ask about", skip)
    evaluation = _evaluated(kept, predictions, prompt, total) if gold else None
    return PromptFile(count, evaluation, len(prompt.examples), total.tokens, total.warnings())


def texts_of(example: Example, pattern: Pattern) -> Texts:
    """Those of an example that the pattern asks about."""
    if len(example.texts) < len(pattern.fields):
        raise DataError(f"{example.place}: expected {len(pattern.fields)} texts, got {len(example.texts)}")
    return example.texts[: len(pattern.fields)]


def _write(out: Path | None, lines: Iterator[dict[str, Any]]) -> int:
    if out is None:
        return sum(1 for _ in lines)
    count = 0
    with claimed(out, kind="file"), whole_file(out) as target:
        for count, one in enumerate(lines, 1):  # noqa: B007 - how many there were
            target.write(json.dumps(one, ensure_ascii=False) + "\n")
    return count


def _labelled(examples: Iterator[Example], verbaliser: Mapping[str, str], skip: Skip) -> Iterator[Example]:
    """Those whose label has a word."""
    names = spellings(tuple(verbaliser))
    for example in examples:
        if isinstance(example.gold, tuple) or example.gold not in names:
            known = ", ".join(verbaliser)
            example.leave_out(skip, f"expected a label that the verbaliser has, {known}, got {example.gold!r}")
        else:
            yield replace(example, gold=names[example.gold])


def labelled(
    file: Path, pattern: Pattern, verbaliser: Mapping[str, str], columns: Mapping[str, str] | None, skip: Skip
) -> tuple[Columns, list[Example]]:
    """The examples of a file, each with a label that has a word.

    Raises:
        DataError: one that is not, unless such are skipped; or none.
    """
    read, every = read_examples(Classify(), file, given={**pattern.columns, **(columns or {})}, skip=skip)
    found = list(_labelled(iter(every), verbaliser, skip)) if verbaliser else every
    enough(found, file, "with labels", skip)
    return read, found


def shots(
    config: PromptConfig, pattern: Pattern, words: Mapping[str, str], columns: Mapping[str, str] | None, skip: Skip
) -> list[tuple[Texts, str]]:
    """`shots` examples of each label, drawn by the seed, in an order drawn by it.

    Raises:
        DataError: fewer of a label.
        UsageError: examples without shots, or the other way round.
    """
    if bool(config.shots) != bool(config.examples):
        given, missing = ("shots", "--examples FILE") if config.shots else ("examples", "--shots K")
        raise UsageError(f"{given} is given: expected {missing}, too, which says what is shown before every text")
    if config.examples is None:
        return []
    _, every = labelled(config.examples, pattern, words, columns, skip)
    rng = np.random.default_rng(config.seed)
    drawn: list[Example] = []
    for label in words:
        own = [one for one in every if one.gold == label]
        if len(own) < config.shots:
            raise DataError(f"{config.examples}: expected {config.shots} examples of {label!r}, got {len(own)}")
        drawn += [own[i] for i in rng.permutation(len(own))[: config.shots]]
    return [(texts_of(drawn[i], pattern), str(drawn[i].gold)) for i in rng.permutation(len(drawn))]


def _evaluated(
    examples: Sequence[Example], predictions: Sequence[dict[str, Any]], prompt: Prompt, total: LabelScores
) -> Evaluation:
    task, head = Classify(), head_of(prompt)
    scores_of = task.scores_of(examples, predictions, head)
    judged = worth(task, examples, predictions, head)
    return Evaluation(
        **task.score(examples, predictions, head),
        examples=len(examples),
        truncated=total.cut,
        intervals={name: [*ends] for name, ends in bootstrap(scores_of, len(examples)).items()},
        majority=judged["majority"],
        warnings=judged["warnings"],
    )


def head_of(prompt: Prompt) -> TaskHead:
    """What the labels of a verbaliser are as predictions."""
    return TaskHead("classify", "label", tuple(prompt.verbaliser), "one", "encoder", len(prompt.pattern.fields))


def find_words(
    engine: Engine,
    file: Path,
    pattern: str,
    *,
    how: How | None = None,
    columns: Mapping[str, str] | None = None,
    skip: Skip = refuse,
    top_k: int = 10,
) -> dict[str, list[LabelWord]]:
    """The best words for each label of a file's records, as `label_words` has them.

    Raises:
        BothwaysError: as `label_words`; or a file that cannot be read.
    """
    parsed = Pattern.parse(pattern)
    _, every = labelled(file, parsed, {}, columns, skip)
    if odd := next((one for one in every if isinstance(one.gold, tuple)), None):
        raise DataError(f"{odd.place}: expected one label, got a list of them")
    pairs = [(texts_of(one, parsed), str(one.gold)) for one in every]
    return label_words(engine, parsed, pairs, how=how, top_k=top_k)
