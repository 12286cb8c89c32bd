"""What the finished model says of text it never saw: hidden words filled in, beginnings continued, changes found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from bothways.batch import Row
from bothways.inference import Loaded
from bothways.inference.extend import way_of_writing

SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
WORDS = re.compile(r"(?<!\w)[^\W\d_]{4,}(?!\w)|[\u4e00-\u9fff]")
SENTENCE, WORDS_IN_IT, CONTINUED = (24, 110), 6, 40  # characters; words; pieces


def samples(
    loaded: Loaded, rows: Sequence[Row], *, count: int = 4, generator: Loaded | None = None
) -> dict[str, list[dict[str, Any]]]:
    """What the model was taught, of sentences spread over the rows; `generator` changes a word for it to find."""
    found = _sentences(loaded, rows)
    chosen = [found[i * len(found) // count] for i in range(min(count, len(found)))]
    trained = loaded.reader.trained
    result: dict[str, list[dict[str, Any]]] = {"fills": [], "continuations": []}
    if trained.hidden is not None:
        result["fills"] = [_fill(loaded, sentence) for sentence in chosen]
    if way_of_writing(trained) is not None and chosen:
        middle = [len(sentence) // 2 for sentence in chosen]
        cuts = [slice(at, None) if "backward" in trained.decoding else slice(at) for at in middle]
        prompts = [sentence[cut].strip() for sentence, cut in zip(chosen, cuts, strict=True)]
        texts = loaded.extend(prompts, max_new_tokens=CONTINUED, temperature=0.7, top_p=0.9, seed=0)
        pairs = zip(prompts, texts, strict=True)
        result["continuations"] = [{"prompt": prompt, "text": text} for prompt, text in pairs]
    if "detect" in trained.decoding and generator is not None:
        result["detections"] = [_detection(loaded, generator, sentence) for sentence in chosen]
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
    text, word = _hidden(loaded, sentence)
    (guesses,) = loaded.fill(text)
    return {
        "text": text,
        "hidden": word,
        "answers": [{"piece": guess.piece, "probability": guess.probability} for guess in guesses],
    }


def _detection(loaded: Loaded, generator: Loaded, sentence: str) -> dict[str, Any]:
    """The sentence with a word put in by the generator, and the verdict on every word."""
    text, word = _hidden(loaded, sentence)
    (guesses,) = generator.fill(text, top_k=10)
    wrong = next((guess.piece.strip() for guess in guesses if guess.piece.strip() not in ("", word)), word)
    verdicts = loaded.detect(text.replace("[MASK]", wrong))
    return {
        "text": text,
        "hidden": word,
        "instead": wrong,
        "words": [{"word": verdict.word, "replaced": verdict.replaced} for verdict in verdicts],
    }


def _hidden(loaded: Loaded, sentence: str) -> tuple[str, str]:
    """The sentence with [MASK] for its word that can be hidden, and the word."""
    word = _hideable(loaded, sentence)
    assert word is not None
    return f"{sentence[: word.start()]}[MASK]{sentence[word.end() :]}", word.group()
