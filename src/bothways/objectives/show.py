"""An objective, seen: what is read, who sees whom, and what are the targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from bothways.batch import Row, Sample, Vocabulary
from bothways.errors import UsageError
from bothways.objectives import build
from bothways.objectives.objective import Objective, sides
from bothways.terminal import wide
from bothways.visibility import places

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SEEN, UNSEEN = "■", "·"


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A row that an objective drew; letters: S tokens of the sample.

    name   of the objective that drew it, a member of a mixture
    share  of the rows that are of its kind
    row    the text as it was
    reads  [S] the words that are read
    predicts  [S] the targets there, "" for none
    sees   [S, S] bool: who sees whom
    """

    name: str
    share: Fraction
    row: Row
    sample: Sample
    words: Sequence[str]
    reads: Sequence[str]
    predicts: Sequence[str]
    sees: np.ndarray


def pictures(expression: str, texts: Sequence[str], *, seed: int = 0, progress: float = 0.0) -> list[Picture]:
    """What an objective makes of a row of words, one picture for each kind of row that it draws.

    Every text is a document, and all are packed into one row. A word that begins with ## continues the one before it;
    the word [SEP] parts a pair of texts.
    A row in which nothing would be hidden or predicted is drawn again, as often as there is hope.

    Raises:
        UsageError: no word in a text, or an expression that `build` refuses.
    """
    row, words, vocabulary = toy_row(texts)
    leaves: dict[Objective, float] = {}
    for leaf, share in build(expression, vocabulary).leaves():
        leaves[leaf] = leaves.get(leaf, 0.0) + share
    found = []
    for leaf, share in leaves.items():
        sample = _draw(leaf, row, seed, progress)
        reads = [words[token] for token in sample.tokens]
        part = Fraction(share).limit_denominator(100)
        seen = leaf.rule.matrix(sample.layout)
        found.append(Picture(leaf.name, part, row, sample, words, reads, _predicts(sample, words), seen))
    return found


def show(expression: str, texts: Sequence[str], *, seed: int = 0, progress: float = 0.0) -> str:
    """The `pictures` as text, under what the objective is."""
    drawn = pictures(expression, texts, seed=seed, progress=progress)
    lines = list(about(expression, pairs=drawn[0].row.part is not None))
    for one in drawn:
        lines += ["", *([f"{one.name}, {one.share} of the rows"] if len(drawn) > 1 else [])]
        lines += as_text(one)
    return "\n".join(lines)


def about(expression: str, *, pairs: bool = False) -> Iterator[str]:
    """What it does, its paper, where this differs, and what it does with pairs."""
    found = build(expression, toy_row(["a"])[2]).about
    yield f"{expression}: {found.summary}"
    yield f"paper: {found.paper}"
    if found.differs:
        yield f"here:  {found.differs}"
    if pairs:
        yield f"pairs: {found.pairs}"


def _predicts(sample: Sample, words: Sequence[str]) -> list[str]:
    predicts = [""] * len(sample.tokens)
    for target in sample.targets:
        for at, label in zip(target.at, target.labels, strict=True):
            word = f"{predicts[at]} {words[label]}".strip()
            predicts[at] = word if target.head == "words" else f"{target.head} {label}"
    return predicts


def toy_row(texts: Sequence[str]) -> tuple[Row, list[str], Vocabulary]:
    """One packed row of some words, the words by token number, and a vocabulary of nothing else.

    Raises:
        UsageError: no word in a text.
    """
    documents = [text.split() for text in texts]
    if not documents or not all(documents):
        raise UsageError(f"expected texts of one word or more, got {list(texts)}")
    words = list(SPECIAL)
    tokens: list[int] = []
    for document in documents:
        words += [word for word in dict.fromkeys(document) if word not in words]
        tokens += [2, *(words.index(word) for word in document), 3]
    numbers = np.array(tokens, dtype=np.int32)
    row = Row(
        tokens=numbers,
        document=np.cumsum(numbers == 2, dtype=np.int32) - 1,
        word_starts=np.array([not words[token].startswith("##") for token in tokens]),
    )
    side = sides(row, SPECIAL.index("[SEP]"))
    row = replace(row, language=side, part=side) if side.any() else row
    return row, words, Vocabulary(size=len(words), pad=0, unk=1, cls=2, sep=3, mask=4)


def _draw(objective: Objective, row: Row, seed: int, progress: float) -> Sample:
    """A row with a [MASK] and a target, or failing that with a target."""
    drawn = (objective.sample(row, np.random.default_rng((seed, i)), progress) for i in range(100))
    with_targets = [sample for sample in drawn if any(len(target.at) for target in sample.targets)]
    if not with_targets:
        raise UsageError(f"{objective.name} finds no target in this text; give it more words")
    return next((sample for sample in with_targets if SPECIAL.index("[MASK]") in sample.tokens), with_targets[0])


def columns(picture: Picture) -> dict[str, list[str]]:
    """{name: what it is at every place}: the text where something else is read, what is read, and those columns of the
    layout that are not 0 everywhere."""
    layout, reads = picture.sample.layout, list(picture.reads)
    text = [picture.words[token] for token in picture.row.tokens]
    if layout.side is not None:  # laid anew: no place is one of the text's
        found = {"side": ["decoder" if side else "encoder" for side in layout.side]}
    else:
        found = {} if text == reads else {"text": [*text, *[""] * (len(reads) - len(text))]}
    found["reads"] = reads
    if picture.row.part is not None and layout.side is None:
        found["part"] = [*map(str, picture.row.part), *[""] * (len(reads) - len(text))]
    found["step"] = [str(step) for step in layout.step]
    if layout.group.any():
        found["group"] = [str(group) for group in layout.group]
    if (layout.position != places(layout.document)).any():
        found["position"] = [str(position) for position in layout.position]
    for name in ("segment", "language"):
        if np.any(column := getattr(layout, name)):
            found[name] = [str(number) for number in column]
    return found


def as_text(picture: Picture) -> Iterator[str]:
    """Lines: for every place its `columns`, whom it sees, and what it predicts; columns stand under the words that are
    seen."""
    left, reads = columns(picture), picture.reads
    widths = {name: max(map(wide, (name, *cells))) for name, cells in left.items()}
    yield "  ".join((*(_pad(name, widths[name]) for name in left), "sees " + " ".join(reads), "predicts"))
    for i, seen in enumerate(picture.sees):
        marks = [_pad(SEEN if see else UNSEEN, wide(word), centre=True) for see, word in zip(seen, reads, strict=True)]
        cells = [
            _pad(column[i], widths[name], right=name not in ("side", "text", "reads")) for name, column in left.items()
        ]
        yield "  ".join((*cells, "     " + " ".join(marks), picture.predicts[i])).rstrip()


def _pad(text: str, width: int, *, right: bool = False, centre: bool = False) -> str:
    room = width - wide(text)
    before = room // 2 if centre else room if right else 0
    return " " * before + text + " " * (room - before)
