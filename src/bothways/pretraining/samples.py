"""What the finished model says of text it never saw: hidden words filled in, beginnings continued."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from bothways.batch import Row
from bothways.inference import Loaded

SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
WORDS = re.compile(r"(?<!\w)[^\W\d_]{4,}(?!\w)|[\u4e00-\u9fff]")
SENTENCE, WORDS_IN_IT, CONTINUED = (24, 110), 6, 40  # characters; words; pieces


def samples(loaded: Loaded, rows: Sequence[Row], *, count: int = 4) -> dict[str, list[dict[str, Any]]]:
    """Fills and continuations, as far as the model was taught them, of sentences spread over the rows."""
    found = _sentences(loaded, rows)
    chosen = [found[i * len(found) // count] for i in range(min(count, len(found)))]
    trained = loaded.reader.trained
    result: dict[str, list[dict[str, Any]]] = {"fills": [], "continuations": []}
    if trained.hidden is not None:
        result["fills"] = [_fill(loaded, sentence) for sentence in chosen]
    if "decoder" in trained.faces and chosen:
        prompts = [sentence[: len(sentence) // 2].rstrip() for sentence in chosen]
        texts = loaded.extend(prompts, max_new_tokens=CONTINUED, temperature=0.7, top_p=0.9, seed=0)
        pairs = zip(prompts, texts, strict=True)
        result["continuations"] = [{"prompt": prompt, "text": text} for prompt, text in pairs]
    return result


def _sentences(loaded: Loaded, rows: Sequence[Row]) -> list[str]:
    """Sentences of some words, one of which is a single piece and can be hidden."""
    tokenizer, (shortest, longest) = loaded.reader.tokenizer, SENTENCE
    texts = (tokenizer.decode(row.pieces[row.document == 0].tolist()) for row in rows)
    sentences = [sentence.strip() for text in texts for sentence in SENTENCE_ENDS.split(text)[1:-1]]
    return [
        sentence
        for sentence in sentences
        if shortest <= len(sentence) <= longest
        and len(WORDS.findall(sentence)) >= WORDS_IN_IT
        and _hideable(loaded, sentence) is not None
    ]


def _hideable(loaded: Loaded, sentence: str) -> re.Match[str] | None:
    """The word nearest to the middle that is a single piece."""
    encode, middle = loaded.reader.tokenizer.encode, len(sentence) / 2
    for word in sorted(WORDS.finditer(sentence), key=lambda word: abs(word.start() - middle)):
        spaced = sentence[max(0, word.start() - 1) : word.end()]
        if len(encode(spaced if spaced[0] == " " else word.group())) == 1:
            return word
    return None


def _fill(loaded: Loaded, sentence: str) -> dict[str, Any]:
    word = _hideable(loaded, sentence)
    assert word is not None
    text = f"{sentence[: word.start()]}[MASK]{sentence[word.end() :]}"
    (guesses,) = loaded.fill(text)
    return {
        "text": text,
        "hidden": word.group(),
        "answers": [{"piece": guess.piece, "probability": guess.probability} for guess in guesses],
    }
