"""The tokenizer that the rest of the package sees: text to token numbers, and back."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import Tokenizer as Engine
from tokenizers.processors import TemplateProcessing

from bothways.arguments import checked
from bothways.batch import Vocabulary
from bothways.errors import BothwaysError, DataError, UsageError
from bothways.gguf import SUFFIX
from bothways.reading import parse_json
from bothways.sums import unchanged
from bothways.text.cached_encoding import ChunkEncoder, cuts_of
from bothways.text.characters import ALONE, BYTES, INSIDE, LETTER, SPECIAL, WordStarts, edges
from bothways.text.decoder import TextDecoder
from bothways.text.gguf import read_gguf_tokenizer
from bothways.text.published import Published, read_published, tokenizer_file
from bothways.text.special_tokens import Ids, complete_roles, find_roles, vocabulary_of
from bothways.text.template import Frame, Tokens

Template = Literal["encoder", "decoder", "own"]
_TEMPLATES = {"encoder": ("{cls} $A {sep}", "{cls} $A {sep} $B:1 {sep}:1"), "decoder": ("{cls} $A", "{cls} $A $B:1")}


class Tokenizer:
    """Wraps an engine of the `tokenizers` library: special tokens with their roles, text never read as a special.

    roles   {role: its token}, of those of the five that it has
    frame   what stands around one text and around two
    kind    "BPE", "WordPiece" or "Unigram"
    length  tokens of a text at most, where tokenizer_config.json says
    chat    how messages are written as one text, a template of transformers' or several by name (text/chat.py)
    prompt  the tokens of a soft prompt, which stand before every text, see `behind_prompt`
    named   {"bos_token": its name, ...}, as tokenizer_config.json has them

    Raises (all encoders):
        UsageError: a lone surrogate, which no file can hold.
    """

    def __init__(
        self,
        engine: Engine,
        configured: dict[str, Any] | None = None,
        ids: Ids | None = None,
        *,
        segments: bool = True,
    ) -> None:
        """
        Args:
            configured: what tokenizer_config.json says.
            ids: with which tokens the model's files say that texts begin and end.
            segments: the model is told which of two texts a token belongs to.
        """
        spec = parse_json(engine.to_str())
        self.kind: str = spec["model"]["type"]
        self._byte_level = "ByteLevel" in json.dumps([spec["pre_tokenizer"], spec["decoder"]])
        self._prefix = spec["model"]["continuing_subword_prefix"] if spec["model"]["type"] == "WordPiece" else None
        self._ids = ids or {}
        self.roles = find_roles(engine, configured or {}, self._ids, mask_takes_space=self._byte_level)
        longest = (configured or {}).get("model_max_length", (configured or {}).get("max_len"))
        self.length: int | None = longest if isinstance(longest, int) else None
        self.chat: Any = (configured or {}).get("chat_template")
        self.named = {key: str(one) for key, one in (configured or {}).items() if key.endswith("_token") and one}
        self.prompt: Tokens = ()
        engine.no_padding()
        engine.no_truncation()
        self._own_template = spec["post_processor"]
        self.frame = Frame.of(engine, segments=segments)
        engine.post_processor = None
        engine.encode_special_tokens = True
        self._engine = engine
        cuts = cuts_of(spec)
        self._chunks = ChunkEncoder(cuts, self._encode_each) if cuts else None

    def __repr__(self) -> str:
        roles = ", ".join(f"{role} {token}" for role, token in self.roles.items())
        return f"Tokenizer({self.kind}, {self.vocabulary.size} tokens: {roles})"

    @classmethod
    @checked
    def load(cls, path: str | Path) -> Tokenizer:
        """From a tokenizer.json, a vocab.txt, a folder that holds one of them (a model's, or a run's), or a GGUF file.

        Raises:
            DataError: nothing there, or no tokenizer in it.
            ModelError: a GGUF file with none that is ours, or a saved model's that was changed since.
        """
        path = Path(path)
        if path.suffix == SUFFIX:
            return cls.of(read_gguf_tokenizer(path))
        path = tokenizer_file(path) or path if path.is_dir() else path
        if not path.is_file():
            raise DataError(f"{path}: expected a tokenizer.json or a vocab.txt, or a folder with one; found none")
        try:
            with unchanged(path.parent, weights=False):
                return cls.of(read_published(path))
        except (BothwaysError, Warning):
            raise
        except Exception as error:  # the library raises bare Exception for whatever it cannot read
            raise DataError(
                f"{path}: expected a tokenizer.json or a vocab.txt, got what does not read: {error}"
            ) from error

    @classmethod
    def of(cls, found: Published) -> Tokenizer:
        """One that was read from files."""
        return cls(found.engine, found.fields, found.ids, segments=found.segments)

    def with_all_roles(self) -> Tokenizer:
        """As shards need it: what it lacks of the five special tokens is laid behind all its tokens."""
        engine = Engine.from_str(json.dumps(self.spec()))
        roles = complete_roles(engine, self.roles, mask_takes_space=self._byte_level)
        return self if roles == self.roles else self.moved_to(engine, roles)

    def moved_to(self, engine: Engine, roles: dict[str, str]) -> Tokenizer:
        """An engine that has its tokens, and more, with these roles; what files say of it besides goes with it."""
        said: dict[str, Any] = {**self.named, "chat_template": self.chat, "model_max_length": self.length}
        said |= {f"{role}_token": name for role, name in roles.items()}
        return Tokenizer(engine, said, self._ids, segments=self.frame.second > 0)

    def behind_prompt(self, count: int) -> Tokenizer:
        """The same where a soft prompt of so many tokens stands before every text: they are special, without a
        spelling, and numbered behind all others."""
        found, own = copy(self), self.vocabulary
        found.prompt = tuple(range(own.size, own.size + count))
        one, two = self.frame.one, self.frame.two
        found.frame = replace(self.frame, one=(found.prompt + one[0], one[1]), two=(found.prompt + two[0], *two[1:]))
        found.vocabulary = replace(own, size=own.size + count, reserved=own.reserved | {*found.prompt})
        found.__dict__.pop("_word_starts", None)
        return found

    def save(
        self,
        folder: str | Path,
        *,
        template: Template | None = None,
        length: int | None = None,
        segments: bool = False,
    ) -> None:
        """Writes tokenizer.json and tokenizer_config.json, which transformers' AutoTokenizer loads.

        Args:
            template: what transformers puts around a text: "encoder" `[CLS] A [SEP]`, "decoder" `[CLS] A`, "own" what
                this tokenizer came with; left out, nothing.
            length: the longest input of the model it goes with.
            segments: that model embeds segments (BERT, ELECTRA), so transformers must give it token_type_ids too.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        spec = self.spec()
        spec["post_processor"] = self._template(template) if template else None
        types = ["token_type_ids"] if segments and (template != "own" or self.frame.second) else []
        # Batches are padded with what ends a text where nothing is named for it, as config.json says too.
        # What is not there is null: a class that is chosen by the model may have tokens of its own by default.
        named = {"bos_token": "cls", "eos_token": "sep", "pad_token": "sep", "unk_token": "unk"}
        named |= {f"{role}_token": role for role in self.roles}
        config: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "model_input_names": ["input_ids", *types, "attention_mask"],
            **{key: self.roles.get(role) for key, role in named.items()},
        }
        if length:
            config["model_max_length"] = length
        if isinstance(self.chat, str):
            (folder / "chat_template.jinja").write_text(self.chat, encoding="utf-8")
        elif self.chat:
            config["chat_template"] = self.chat
        _write_json(folder / "tokenizer.json", spec)
        _write_json(folder / "tokenizer_config.json", config)

    def for_chat(self, template: Any, *, end: int) -> Tokenizer:
        """The same with a chat template, in which the token `end` ends a turn, and so a text."""
        made, ends = copy(self), self.vocabulary.ends
        made.chat = template
        if end not in ends:
            made._ids = {**self._ids, "eos_token_id": (*sorted(ends), end)}
            made.__dict__.pop("vocabulary", None)
        return made

    def spec(self) -> dict[str, Any]:
        """What its tokenizer.json holds, the template being that it came with."""
        spec: dict[str, Any] = parse_json(self._engine.to_str())
        return {**spec, "post_processor": self._own_template}

    def words(self, texts: Iterable[str]) -> Counter[tuple[str, ...]]:
        """How often each word (a stretch that is tokenized by itself) is met, spelt in tokens; none with [UNK]."""
        normalizer, cutter = self._engine.normalizer, self._engine.pre_tokenizer
        counts: Counter[str] = Counter()
        for text in texts:
            plain = normalizer.normalize_str(_whole(text)) if normalizer else _whole(text)
            counts.update(word for word, _ in cutter.pre_tokenize_str(plain))
        spelt: Counter[tuple[str, ...]] = Counter()
        for word, times in counts.items():
            tokens = tuple(token.value for token in self._engine.model.tokenize(word))
            if self.roles.get("unk") not in tokens:
                spelt[tokens] += times
        return spelt

    def number(self, token: str) -> int | None:
        """The number of a token; None: there is none."""
        found: int | None = self._engine.token_to_id(token)
        return found

    def text_of(self, number: int) -> str:
        """The text that a token stands for; what is half a character is left out."""
        token = self._engine.id_to_token(number) or ""
        if self._prefix is not None:
            return token.removeprefix(self._prefix)
        return self._surface(number).decode("utf-8", errors="ignore")

    def is_inside(self, number: int) -> bool:
        """Whether a token only stands within a word (WordPiece's ##)."""
        return self._prefix is not None and (self._engine.id_to_token(number) or "").startswith(self._prefix)

    def goes_on(self, number: int) -> bool:
        """Whether a token has no sign that a word begins there: it has WordPiece's ##, or lacks SentencePiece's ▁."""
        if self._byte_level or self._prefix is not None:
            return self.is_inside(number)
        return not (self._engine.id_to_token(number) or "").startswith("▁")

    def spelling(self, text: str, *, inside: bool) -> list[int]:
        """The tokens of a text; `inside` a word, those that stand there, without a sign that a word begins."""
        if not inside or self._byte_level:
            return self.encode(text)
        normalizer = self._engine.normalizer
        text = "".join(normalizer.normalize_str(text).replace("▁", " ").split()) if normalizer else text
        if self._prefix is None:
            return [token.id for token in self._engine.model.tokenize(text)]
        found, begin = [], 0
        while begin < len(text):
            ends = range(len(text), begin, -1)
            fitting = ((end, self.number(self._prefix + text[begin:end])) for end in ends)
            end, number = next(
                ((end, one) for end, one in fitting if one is not None), (begin + 1, self.vocabulary.unk)
            )
            found.append(number)
            begin = end
        return found

    def _template(self, template: Template) -> dict[str, Any] | None:
        if template == "own":
            return dict(self._own_template) if self._own_template else None
        single, pair = (text.format(**self.roles) for text in _TEMPLATES[template])
        specials = [(self.roles[role], getattr(self.vocabulary, role)) for role in ("cls", "sep")]
        made = TemplateProcessing(single=single, pair=pair, special_tokens=specials)
        return dict(parse_json(made.__getstate__()))

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Its size and its special tokens."""
        return vocabulary_of(self._engine, self.roles, self._ids)

    @property
    def nothing(self) -> Tokens:
        """What is read of a text of no tokens where the frame is empty: a token that begins a text, or that ends one.

        Raises:
            UsageError: the model's files name neither.
        """
        found = [token for token in (self.vocabulary.cls, *sorted(self.vocabulary.ends)) if token >= 0]
        if not found:
            raise UsageError("expected a text, got none, and the model's files name no token that begins one")
        return (found[0],)

    @property
    def special_names(self) -> list[str]:
        """The names of the tokens that are found in a text only where it is asked for."""
        return [token.content for token in self._engine.get_added_tokens_decoder().values() if token.special]

    def encode(self, text: str) -> list[int]:
        """Tokens of the text alone: no specials are added, and "[CLS]" in the text is five characters."""
        return list(self._engine.encode(_whole(text), add_special_tokens=False).ids)

    def encode_named(self, text: str) -> list[int]:
        """As `encode`, but the name of a special token in the text is that token: what a chat template writes."""
        return list(self._naming.encode(_whole(text), add_special_tokens=False).ids)

    def encode_marked(self, text: str) -> list[int]:
        """As `encode`, but [MASK] (or the mask's own name) in the text is the mask token, which takes the white space
        around it that its tokenizer gives to it (its lstrip and rstrip)."""
        return list(self._marking.encode(self._named(text), add_special_tokens=False).ids)

    def around_masks(self, text: str) -> list[str]:
        """What stands before, between and behind the masks of a text, without the white space that is the mask's."""
        mask = self._engine.get_added_tokens_decoder()[self.vocabulary.mask]
        before = r"\s*" if mask.lstrip or self._prefix is not None else ""  # WordPiece has no tokens for spaces
        return re.split(before + re.escape(mask.content) + (r"\s*" if mask.rstrip else ""), self._named(text))

    def _named(self, text: str) -> str:
        return _whole(text).replace("[MASK]", self.roles.get("mask", "[MASK]"))

    @cached_property
    def _naming(self) -> Engine:
        """The engine, but it finds special tokens in a text; one that is switched over is so for all threads."""
        return Engine.from_str(self._engine.to_str())

    @cached_property
    def _marking(self) -> Engine:
        """The engine, but of its special tokens it finds the mask in a text: no other way finds one alone."""
        spec = parse_json(self._engine.to_str())
        for token in spec["added_tokens"]:
            token["special"] &= token["id"] != self.vocabulary.mask
        engine = Engine.from_str(json.dumps(spec))
        engine.encode_special_tokens = True
        return engine

    def encode_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """All texts' tokens end to end, int32 [N], and the number of tokens of each text, int64 [texts]; fast."""
        texts = [_whole(text) for text in texts]
        if self._chunks:
            return self._chunks(texts)
        encoded = self._encode_each(texts)
        lengths = np.array([len(tokens) for tokens in encoded], dtype=np.int64)
        return np.fromiter(chain.from_iterable(encoded), np.int32, lengths.sum()), lengths

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """`encode` of many texts, as int32 arrays."""
        tokens, lengths = self.encode_flat(texts)
        return np.split(tokens, np.cumsum(lengths)[:-1]) if len(texts) else []

    def encode_spans(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Tokens int32 [N], and where in the text the characters of each begin and end, int64 [N, 2]."""
        encoding = self._engine.encode(_whole(text), add_special_tokens=False)
        return np.array(encoding.ids, dtype=np.int32), np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)

    def _encode_each(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._engine.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The text of the tokens; special tokens are left out."""
        return self._decoder([*map(int, tokens)])

    @cached_property
    def _decoder(self) -> TextDecoder:
        return TextDecoder(self._engine, spaced=self._prefix is not None)

    def tokens(self, tokens: Sequence[int] | np.ndarray) -> list[str]:
        """Each token as its tokenizer spells it."""
        return [self._engine.id_to_token(int(token)) or "" for token in tokens]

    def word_starts(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        """[T] bool, True where a word begins and at every special token; each ideograph is a word."""
        return self._word_starts(np.asarray(tokens, dtype=np.int64))

    @cached_property
    def _word_starts(self) -> WordStarts:
        table = [self._edges(number) for number in range(self.vocabulary.size)]
        return WordStarts([begins for begins, _ in table], [ends for _, ends in table])

    def _edges(self, number: int) -> tuple[int, int]:
        token = self._engine.id_to_token(number)
        if number in self.vocabulary.special or not token:
            return SPECIAL, SPECIAL
        if self._prefix is not None:
            return (INSIDE, LETTER) if token.startswith(self._prefix) else (ALONE, LETTER)
        return edges(self._surface(number))

    @cached_property
    def _added(self) -> frozenset[int]:
        """Tokens that are looked for in a text as they are written: runs of spaces of ModernBERT, say."""
        return frozenset(self._engine.get_added_tokens_decoder())

    def _surface(self, number: int) -> bytes:
        """The bytes that a token stands for."""
        token = self._engine.id_to_token(number) or ""
        if self._byte_level:
            spelt = number not in self._added and BYTES.keys() >= {*token}
            return bytes(BYTES[character] for character in token) if spelt else token.encode()
        byte = re.fullmatch(r"<0x([0-9A-F]{2})>", token)
        return bytes.fromhex(byte[1]) if byte else token.replace("▁", " ").encode()


def _whole(text: str) -> str:
    """The text as it is: a tokenizer that wants it composed (NFC), as all of ours do, composes it itself."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"expected text, got a lone surrogate at character {error.start}: leave it out") from error
    return text


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
