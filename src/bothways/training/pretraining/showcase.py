"""What the finished model makes of text it never saw: hidden words filled in, beginnings continued, changes found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bothways.batch import Row
from bothways.inference import LanguageModel
from bothways.inference.decoding.generate import method_of
from bothways.text import Tokenizer
from bothways.text.characters import ALONE, LETTER, kind_of

# A closing quote or bracket belongs to the sentence that ends before it.
SENTENCE_END = re.compile(r"""(?:[.!?]+["'’”»)\]]*(?=\s)|[。！？…।॥؟۔]+["'’”」』）》〉】»)\]]*)\s*""")
LONGEST, WORDS_IN_IT, CONTINUED = 110, (6, 2), 40  # characters; words, and where too few have as many; tokens
COUNT = 4  # sentences
LETTERS = 4  # shorter words are mostly predicted by grammar alone


@dataclass(frozen=True, slots=True)
class Sentence:
    """
    words   (begin, end) in the text of every word of letters
    hidden  that of a single token, near the middle; None: there is none
    """

    text: str
    words: Sequence[tuple[int, int]]
    hidden: tuple[int, int] | None

    @classmethod
    def of(cls, text: str, tokenizer: Tokenizer) -> Sentence:
        """A text with where its words stand, and which of them are one token."""
        tokens, spans = tokenizer.encode_spans(text)
        begins = np.flatnonzero(tokenizer.word_starts(tokens))
        words, single = [], []
        for first, stop in zip(begins, [*begins[1:], len(tokens)], strict=True):
            begin, end = int(spans[first, 0]), int(spans[stop - 1, 1])
            begin = end - len(text[begin:end].lstrip())  # some tokenizers count the space before it in
            if begin < end and all(kind_of(letter) in (LETTER, ALONE) for letter in text[begin:end]):
                words.append((begin, end))
                single += [(begin, end)] if stop - first == 1 and tokens[first] != tokenizer.vocabulary.unk else []
        middle = len(text) / 2

        def far(word: tuple[int, int]) -> tuple[bool, float]:
            begin, end = word
            return end - begin < LETTERS and kind_of(text[begin]) == LETTER, abs(begin - middle)

        return cls(text, words, min(single, key=far, default=None))

    @property
    def masked(self) -> tuple[str, str]:
        """The text with [MASK] for a word, and the word."""
        assert self.hidden is not None
        begin, end = self.hidden
        return f"{self.text[:begin]}[MASK]{self.text[end:]}", self.text[begin:end]

    def half(self, *, second: bool) -> str:
        """What stands before the word that begins nearest to the middle, or that word and what follows."""
        at = min((begin for begin, _ in self.words[1:]), key=lambda begin: abs(begin - len(self.text) / 2))
        return (self.text[at:] if second else self.text[:at]).strip()


def samples(
    loaded: LanguageModel, rows: Sequence[Row], *, generator: LanguageModel | None = None
) -> dict[str, list[dict[str, Any]]]:
    """What the model was taught, of sentences spread over the rows; `generator` changes a word for it to find."""
    chosen = _chosen(loaded.engine.tokenizer, rows)
    trained = loaded.engine.abilities
    result: dict[str, list[dict[str, Any]]] = {"fills": [], "continuations": []}
    if trained.hidden is not None:
        result["fills"] = [_fill(loaded, sentence) for sentence in chosen]
    if method_of(trained) is not None and chosen:
        prompts = [sentence.half(second="backward" in trained.decoding) for sentence in chosen]
        texts = loaded.generate(prompts, max_new_tokens=CONTINUED, temperature=0.7, top_p=0.9, seed=0)
        pairs = zip(prompts, texts, strict=True)
        result["continuations"] = [{"prompt": prompt, "text": text.full_text} for prompt, text in pairs]
    if "detect" in trained.decoding and generator is not None:
        result["detections"] = [_detection(loaded, generator, sentence) for sentence in chosen]
    return result


def _chosen(tokenizer: Tokenizer, rows: Sequence[Row]) -> list[Sentence]:
    """Sentences of some words, evenly spread; of fewer words where the text has no such."""
    texts = dict.fromkeys(text for row in rows for text in _texts(tokenizer, row) if len(text) <= LONGEST)
    every = [one for text in texts if (one := Sentence.of(text, tokenizer)).hidden is not None]
    for least in WORDS_IN_IT:
        found = [one for one in every if len(one.words) >= least]
        if len(found) >= COUNT:
            break
    wanted = min(COUNT, len(found))
    return [found[i * len(found) // wanted] for i in range(wanted)]


def _texts(tokenizer: Tokenizer, row: Row) -> Iterator[str]:
    """The whole sentences of a row, which may have cut the first of its documents and the last."""
    for document in range(int(row.document.max()) + 1):
        tokens = row.tokens[row.document == document]
        ends = np.flatnonzero(tokens == tokenizer.vocabulary.sep) + 1
        for number, part in enumerate(np.split(tokens, ends)):  # the last is empty, or was cut
            lines = SENTENCE_END.sub(lambda end: end.group().rstrip() + "\n", tokenizer.decode(part)).split("\n")
            whole = slice(int(document == number == 0), -1 if number == len(ends) else None)
            yield from (line.strip() for line in lines[whole] if line.strip())


def _fill(loaded: LanguageModel, sentence: Sentence) -> dict[str, Any]:
    text, word = sentence.masked
    (guesses,) = loaded.fill(text)
    return {
        "text": text,
        "hidden": word,
        "answers": [{"token": guess.token, "probability": guess.probability} for guess in guesses],
    }


def _detection(loaded: LanguageModel, generator: LanguageModel, sentence: Sentence) -> dict[str, Any]:
    """The sentence with a word put in by the generator, and the verdict on every word."""
    text, word = sentence.masked
    (guesses,) = generator.fill(text, top_k=10)
    wrong = next((guess.token.strip() for guess in guesses if guess.token.strip() not in ("", word)), word)
    verdicts = loaded.detect(text.replace("[MASK]", wrong))
    return {
        "text": text,
        "hidden": word,
        "instead": wrong,
        "words": [{"word": verdict.word, "replaced": verdict.replaced} for verdict in verdicts],
    }
