"""Trains a tokenizer: byte-level BPE or WordPiece, the same one from the same texts every time."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Engine
from tokenizers.processors import TemplateProcessing

from bothways.errors import UsageError, unknown
from bothways.text.cached_encoding import WORDS
from bothways.text.characters import ALONE, kind_of
from bothways.text.special_tokens import ROLES, special_token
from bothways.text.tokenizer import Tokenizer

SPECIALS = tuple(names[0] for names in ROLES.values())
"""[PAD], [UNK], [CLS], [SEP], [MASK]: token numbers 0 to 4 of every tokenizer trained here."""


def train_tokenizer(texts: Iterable[str], *, kind: str = "bpe", size: int = 8192) -> Tokenizer:
    """Trains on `texts` a tokenizer of at most `size` tokens; a small corpus may give fewer.

    Args:
        kind: "bpe" (byte-level: every string comes back exactly as it went in) or "wordpiece" (BERT's, cased).

    Raises:
        UsageError: an unknown kind, or a size too small for the bytes or the alphabet.
    """
    if kind not in _TRAINERS:
        raise unknown("kind of tokenizer", kind, _TRAINERS)
    if size < _SMALLEST:
        raise UsageError(f"expected a vocabulary of at least {_SMALLEST} tokens, got {size}")
    engine = _TRAINERS[kind]([unicodedata.normalize("NFC", text) for text in texts], size)
    framed = [(name, engine.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
    engine.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", pair=pair, special_tokens=framed)
    return Tokenizer(engine)


def _train_bpe(texts: Sequence[str], size: int) -> Engine:
    engine = Engine(models.BPE())
    engine.normalizer = normalizers.NFC()
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    engine.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=_special_tokens(mask_takes_space=True),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    engine.train_from_iterator(texts, trainer)
    return engine


def _train_wordpiece(texts: Sequence[str], size: int) -> Engine:
    """The library numbers the "##" forms of letters in the order of a hash table, and merges equal pairs by number.

    So they come first here, sorted, as if they were special tokens; then the vocabulary is rebuilt without that role.
    """
    engine = _wordpiece({token: number for number, token in enumerate(SPECIALS)})
    alphabet = _alphabet(engine, texts, size * 3 // 4)
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=[*SPECIALS, *(f"##{character}" for character in alphabet if _joins(character))],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    engine.train_from_iterator(texts, trainer)
    trained = engine.get_vocab(with_added_tokens=True)
    return _wordpiece({token: number for number, token in enumerate(sorted(trained, key=lambda token: trained[token]))})


def _alphabet(engine: Engine, texts: Sequence[str], room: int) -> list[str]:
    """The commonest characters, sorted, as many as fit with their "##" forms into `room` tokens."""
    assert engine.normalizer is not None
    counts = Counter[str]()
    for text in texts:
        counts.update(engine.normalizer.normalize_str(text))
    commonest = sorted((c for c in counts if not c.isspace()), key=lambda c: (-counts[c], c))
    sizes = accumulate(1 + _joins(character) for character in commonest)
    return sorted(character for character, size in zip(commonest, sizes, strict=True) if size <= room)


def _joins(character: str) -> bool:
    """Whether a character can stand inside a word: BERT parts ideographs, punctuation and all ASCII signs."""
    if character.isascii():
        return character.isalnum()
    return kind_of(character) != ALONE and not unicodedata.category(character).startswith("P")


def _wordpiece(vocabulary: dict[str, int]) -> Engine:
    engine = Engine(models.WordPiece(vocabulary, unk_token="[UNK]"))
    engine.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.BertNormalizer(strip_accents=False, lowercase=False)]
    )
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    engine.decoder = decoders.WordPiece()
    engine.add_special_tokens(_special_tokens(mask_takes_space=False))
    return engine


def _special_tokens(*, mask_takes_space: bool) -> list[str | AddedToken]:
    return [special_token(role, names[0], mask_takes_space=mask_takes_space) for role, names in ROLES.items()]


_TRAINERS = {"bpe": _train_bpe, "wordpiece": _train_wordpiece}
_SMALLEST = 256 + len(SPECIALS)
