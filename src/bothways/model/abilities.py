"""What a model can do, as one record that is saved with it: what its objective taught, and what its tasks did."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from typing import Any, ClassVar, Literal, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import nn

from bothways.batch import Reads
from bothways.errors import ModelError
from bothways.model.config import ModelConfig
from bothways.model.heads import FACES, TASK_HEADS
from bothways.visibility import ordered

VERSION = 3
"""Of bothways.json."""
Kind = Literal[
    "one",
    "several",
    "number",
    "choice",
    "span",
    "span or none",
    "pair",
    "likeness",
    "sentences",
    "relevance",
    "text",
]
_EXACT = ConfigDict(extra="forbid")
WORDS = "words"
"""The head of a model that writes, which every model has."""
Side = Literal["encoder", "decoder"]
Face = Literal[
    "encoder",
    "decoder",
    "detector",
    "body",
    "classifier",
    "tagger",
    "answerer",
    "seq2seq",
    "decoder-body",
    "decoder-classifier",
    "decoder-tagger",
    "decoder-answerer",
]


@dataclass(frozen=True, slots=True)
class Writes:
    """How a model writes a text for a source: the row is `before` `prefix` source `behind` target `end`.

    target   tokens of a target at most, the one that ends it included
    before, behind  tokens that stand before a source and behind it
    end      the token that ends a target
    options  {option of generating: its value} that are taken where none is named
    apart    a target stands in a row of its own, which a decoder writes
    prefix   tokens of the task's own text before every source (T5, Raffel et al. 2020, section 2.4)
    chat     a source is what a user says, or messages, and the chat template writes what stands around it
    objective, decoding  of one of several tasks: what taught it, and how it decodes ("decoder": causally), as in
             `Abilities`; of a model of one task they stand there alone
    """

    __pydantic_config__: ClassVar[ConfigDict] = _EXACT
    target: int
    before: tuple[int, ...]
    behind: tuple[int, ...]
    end: int
    options: Mapping[str, Any] = field(default_factory=dict)
    apart: bool = False
    prefix: tuple[int, ...] = ()
    chat: bool = False
    objective: str = ""
    decoding: Mapping[str, int] = field(default_factory=dict)

    @property
    def opening(self) -> tuple[int, ...]:
        """What stands before a source."""
        return *self.before, *self.prefix

    def room(self, length: int) -> int:
        """Tokens of a source at most, where a row has `length`."""
        return length - (0 if self.apart else self.target) - len(self.opening) - len(self.behind)

    def prompt(self, source: Sequence[int], length: int) -> list[int]:
        """What is read before the target: the source, its end cut off where it is too long."""
        return [*self.opening, *source[: self.room(length)], *self.behind]


@dataclass(frozen=True, slots=True)
class TaskHead:
    """A head that a task trains, and what it predicts.

    task    the task's name: "classify"
    head    one of `heads.TASK_HEADS`: "label" predicts for a text, "san" for a pair in turns, "tags" for a word, "span"
            where an answer begins and ends, "markers" and "entities" for two things in a text, "vector" is the mean
            state of a text, "extract" and "extract-mean" predict for a sentence, "words" are those of a text to be
            written
    labels  by number; of a number, its name; of vectors, the least and the greatest likeness that was trained
    kind    one of the labels, several (any of them), a number, one of several texts, a span of a text; of vectors,
            which text belongs to which (pair) or how alike they are; some sentences of a text; of a text, whether it
            belongs to another (relevance)
    reads   the body's face: "encoder" is bidirectional, "decoder" causal
    texts   of an example, one or two; 0: unknown, or it is not for the task to say
    thresholds  the probability from which on a label is predicted: of each where several may be right, of the second of
                two; None: a half
    characters  for tags: whether each character of a text is a word
    pooling  of a label: the state of a text ("first", "mean"); left out, as transformers' class of the model has it
    sentences  of a summary, at most
    trigram_blocking  whether a summary leaves out a sentence that repeats three words of it
    longest_characters  of a span: those of the longest that was trained
    name    in the model; two heads of one kind have two names. Left out, as `head`
    writes  for "words": how
    """

    __pydantic_config__: ClassVar[ConfigDict] = _EXACT
    task: str
    head: str
    labels: tuple[str, ...]
    kind: Kind
    reads: Side
    texts: int = 0
    thresholds: tuple[float, ...] | None = None
    characters: bool = False
    pooling: str = ""
    name: str = ""
    sentences: int = 0
    trigram_blocking: bool = False
    longest_characters: int = 0
    writes: Writes | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.head)

    @property
    def face(self) -> str:
        """What Hugging Face calls a model of this head alone, see `folders`; a body where it has no class for it.

        Raises:
            ModelError: a head for a body that is bidirectional, on one that is not.
        """
        if self.reads == "decoder" and self.head not in FACES:
            raise ModelError(f"{self.task} needs a model that is bidirectional, this one is causal")
        face = FACES.get(self.head, "body") if self.name == self.head else "body"
        return face if self.reads == "encoder" else f"decoder-{face}"

    @property
    def factory(self) -> Callable[[ModelConfig], nn.Module]:
        """What makes it."""
        return partial(TASK_HEADS[self.head], head=self)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What an objective and tasks taught a model, and so what it can be used for.

    objective  its expression ("hybrid"); empty when unknown, as in a published checkpoint
    faces      "encoder" is bidirectional, "decoder" is causal and predicts the next token; none of the two when the
               objective reads in another way, or a causal body predicts no tokens
    hidden     where a hidden token is predicted: at its place, one place before it (GPT-BERT), or nowhere
    decoding   {a use that its faces do not imply ("detect", "unmask", ...): its size, or 0}
    reads      how the body reads a text, where there is no face
    heads      {name in the model: a head that a task trained}
    rule       who sees whom (`visibility.named`); transformers knows "ordered" alone: under others a body is saved
    """

    __pydantic_config__: ClassVar[ConfigDict] = _EXACT
    objective: str = ""
    faces: tuple[Side, ...] = ()
    hidden: Literal["in place", "before"] | None = None
    decoding: Mapping[str, int] = field(default_factory=dict)
    reads: Reads | None = None
    heads: Mapping[str, TaskHead] = field(default_factory=dict)
    rule: str = ordered.name

    @classmethod
    def of_heads(cls, *heads: TaskHead, rule: str = ordered.name) -> Abilities:
        """Those of a model that tasks trained: a body, which predicts no tokens but for those tasks that write."""
        read = {head.reads: None for head in heads if not head.writes}
        found = cls("", (*read,)[:1], None, heads={head.name: head for head in heads}, rule=rule)
        if read:
            return found
        (first, *others) = (found.as_writer(head) for head in heads)
        causal = all(one.faces == ("decoder",) for one in (first, *others))
        whole = replace(found, faces=("decoder",) if causal else (), reads=None if causal else "all sides")
        return whole if others else first

    def as_writer(self, head: TaskHead) -> Abilities:
        """What of it is used to write for one of the tasks: as if it had been taught this one alone."""
        if head.writes is None or not head.writes.decoding:
            return replace(self, heads={head.name: head})
        objective, decoding = head.writes.objective, head.writes.decoding
        own = replace(self, objective=objective, heads={head.name: head})
        if "decoder" in decoding:
            return replace(own, faces=("decoder",), decoding={}, reads=None)
        return replace(own, faces=(), decoding=decoding, reads="all sides")

    @property
    def generates(self) -> bool:
        """Whether it can continue a text, or write one for a source."""
        return bool(self.decoding or self.writers or "decoder" in self.faces)

    @property
    def writers(self) -> dict[str, TaskHead]:
        """{name: what a model was fine-tuned to write}; empty: it goes on with a text."""
        return {name: head for name, head in self.heads.items() if head.writes}

    @property
    def writer(self) -> TaskHead | None:
        """What a model was fine-tuned to write, where that is all it was taught, or asked as (`as_writer`)."""
        return head if (head := self.only_head) and head.writes else None

    @property
    def new_heads(self) -> dict[str, TaskHead]:
        """{name: head} of those that a task brought: the words' own is not one."""
        return {name: head for name, head in self.heads.items() if head.head != WORDS}

    @property
    def only_head(self) -> TaskHead | None:
        """The one head of a model that was fine-tuned to one task, and predicts no tokens."""
        return next(iter(self.heads.values())) if len(self.heads) == 1 and self.hidden is None else None

    @property
    def folders(self) -> dict[str, Face]:
        """{folder to save: its face}; an encoder that predicts no tokens is a detector, or a body alone."""
        if writers := [(head, head.writes) for head in self.writers.values() if head.writes]:
            causal = self.faces == ("decoder",)
            if any(writes.apart for _, writes in writers):
                return {"model": "seq2seq"}
            if causal and all(writes.decoding.keys() <= {"decoder"} for _, writes in writers):
                return {"model": "decoder"}
            return {"model": "decoder-body" if causal or writers[0][0].reads == "decoder" else "body"}
        if self.heads and self.hidden is None:
            face = self.only_head.face if self.only_head else "body" if "encoder" in self.faces else "decoder-body"
            return {"model": cast("Face", face)}
        if "seq2seq" in self.decoding and self.rule == ordered.name:
            return {"model": "seq2seq"}
        if not self.faces or self.rule != ordered.name:
            from_left = self.reads == "left to right" or self.faces == ("decoder",)
            return {"body": "decoder-body" if from_left else "body"}
        silent: Face = "detector" if "detect" in self.decoding else "body"
        return {
            face: silent if face == "encoder" and self.hidden is None else cast("Face", face) for face in self.faces
        }

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values, with the version of the form."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Abilities:
        """
        Raises:
            ModelError: something else than `as_json` wrote, or another version of it did.
        """
        if values.get("version") != VERSION:
            written = f"version {values['version']}" if "version" in values else "an older version"
            raise ModelError(
                f"bothways.json: of {written}, and this Bothways reads version {VERSION}. Train the model again, or "
                "open it with the Bothways that wrote it and save it with transformers."
            )
        told = {key: value for key, value in values.items() if key not in ("version", "adapter")}
        try:
            found = _form().validate_json(json.dumps(told), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            place, got = ".".join(map(str, first["loc"])), f"got {first['input']!r:.80}"
            raise ModelError(
                f"bothways.json: {place}: expected what Bothways writes there ({first['msg']}), {got}"
            ) from None
        for name, head in found.heads.items():
            if head.name != name or not (head.head in TASK_HEADS or (head.head == WORDS and head.writes)):
                raise ModelError(
                    f"bothways.json: heads.{name}: expected a head as Bothways writes it, got {head!r:.200}"
                )
        return found


@cache
def _form() -> TypeAdapter[Abilities]:
    return TypeAdapter(Abilities)
