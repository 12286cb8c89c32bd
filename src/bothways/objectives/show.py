"""An objective, seen: what is read, who sees whom, and what must be said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from unicodedata import east_asian_width

import numpy as np

from bothways.batch import Row, Sample, Vocabulary
from bothways.errors import UsageError
from bothways.objectives import build
from bothways.objectives.objective import Objective, sides
from bothways.visibility import Visibility, places

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SEEN, UNSEEN = "■", "·"


def show(expression: str, texts: Sequence[str], *, seed: int = 0, progress: float = 0.0) -> str:
    """A picture of what an objective makes of a row of words, one for each kind of row that it draws.

    Every text is a document, and all are packed into one row. A word that begins with ## continues the one before it;
    the word [SEP] parts a pair of texts.
    A row in which nothing would be hidden or said is drawn again, as often as there is hope.

    Raises:
        UsageError: no word in a text, or an expression that `build` refuses.
    """
    row, words, vocabulary = toy_row(texts)
    objective = build(expression, vocabulary)
    pictures = [f"{expression}: {objective.about.summary}", f"paper: {objective.about.paper}"]
    if objective.about.differs:
        pictures.append(f"here:  {objective.about.differs}")
    leaves: dict[Objective, float] = {}
    for leaf, share in objective.leaves():
        leaves[leaf] = leaves.get(leaf, 0.0) + share
    for leaf, share in leaves.items():
        sample = _draw(leaf, row, seed, progress)
        part = Fraction(share).limit_denominator(100)
        pictures += ["", *([f"{leaf.name}, {part} of the rows"] if len(leaves) > 1 else [])]
        pictures += draw_sample(sample, row=row, words=words, rule=leaf.rule)
    return "\n".join(pictures)


def toy_row(texts: Sequence[str]) -> tuple[Row, list[str], Vocabulary]:
    """One packed row of some words, the words by piece number, and a vocabulary of nothing else.

    Raises:
        UsageError: no word in a text.
    """
    documents = [text.split() for text in texts]
    if not documents or not all(documents):
        raise UsageError(f"expected texts of one word or more, got {list(texts)}")
    words = list(SPECIAL)
    pieces: list[int] = []
    for document in documents:
        words += [word for word in dict.fromkeys(document) if word not in words]
        pieces += [2, *(words.index(word) for word in document), 3]
    numbers = np.array(pieces, dtype=np.int32)
    row = Row(
        pieces=numbers,
        document=np.cumsum(numbers == 2, dtype=np.int32) - 1,
        word_starts=np.array([not words[piece].startswith("##") for piece in pieces]),
    )
    language = sides(row, SPECIAL.index("[SEP]"))
    row = replace(row, language=language) if language.any() else row
    return row, words, Vocabulary(size=len(words), pad=0, unk=1, cls=2, sep=3, mask=4)


def _draw(objective: Objective, row: Row, seed: int, progress: float) -> Sample:
    """A row with a [MASK] and something to say, or failing that with something to say."""
    drawn = (objective.sample(row, np.random.default_rng((seed, i)), progress) for i in range(100))
    speaking = [sample for sample in drawn if any(len(target.at) for target in sample.targets)]
    if not speaking:
        raise UsageError(f"{objective.name} finds nothing to say in this text; give it more words")
    return next((sample for sample in speaking if SPECIAL.index("[MASK]") in sample.pieces), speaking[0])


def draw_sample(sample: Sample, *, row: Row, words: Sequence[str], rule: Visibility) -> Iterator[str]:
    """Lines: for every place what is read there (and the text, where it differs), its step, its group if there is
    scaffolding, whom it sees, and what it must say; columns stand under the words that are seen."""
    reads = [words[piece] for piece in sample.pieces]
    says = [""] * len(reads)
    for target in sample.targets:
        for at, label in zip(target.at, target.labels, strict=True):
            says[at] = f"{says[at]} {words[label]}".strip() if target.head == "words" else f"{target.head} {label}"
    left = {"reads": reads, "step": [str(step) for step in sample.layout.step]}
    text = [words[piece] for piece in row.pieces]
    if text != reads:
        left = {"text": [*text, *[""] * (len(reads) - len(text))], **left}
    if sample.layout.group.any():
        left["group"] = [str(group) for group in sample.layout.group]
    if (sample.layout.position != places(sample.layout.document)).any():
        left["position"] = [str(position) for position in sample.layout.position]
    if sample.layout.segment.any():
        left["segment"] = [str(segment) for segment in sample.layout.segment]
    widths = {name: max(map(_width, (name, *cells))) for name, cells in left.items()}
    yield "  ".join((*(_pad(name, widths[name]) for name in left), "sees " + " ".join(reads), "says"))
    for i, seen in enumerate(rule.matrix(sample.layout)):
        marks = [
            _pad(SEEN if see else UNSEEN, _width(word), centre=True) for see, word in zip(seen, reads, strict=True)
        ]
        cells = [_pad(column[i], widths[name], right=name not in ("text", "reads")) for name, column in left.items()]
        yield "  ".join((*cells, "     " + " ".join(marks), says[i])).rstrip()


def _width(text: str) -> int:
    """Columns on a terminal; a Chinese character takes two."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _pad(text: str, width: int, *, right: bool = False, centre: bool = False) -> str:
    room = width - _width(text)
    before = room // 2 if centre else room if right else 0
    return " " * before + text + " " * (room - before)
