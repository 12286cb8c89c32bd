"""What fine-tuning puts on a body: the question, and the head that answers it; each is that of transformers' class.

Letters: N texts or words, B rows, T tokens, D width, C labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bothways.errors import ModelError
from bothways.model.config import ModelConfig
from bothways.model.huggingface.weight_names import kind_of

Kind = Literal["one", "several", "number", "choice", "span", "span or none", "pair", "likeness"]
Side = Literal["encoder", "decoder"]
Head = Literal["label", "tags", "span", "markers", "entities", "vector"]
_FACES: dict[str, str] = {"label": "classifier", "tags": "tagger", "span": "answerer"}


@dataclass(frozen=True, slots=True)
class Answers:
    """What a fine-tuned model says.

    task    its name: "classify"
    head    "label" gives one answer a text, "tags" one a word, "span" the chance of each place to be a beginning or
            end, "markers" and "entities" one for two things in a text, "vector" the mean state of a text
    labels  by number; of a number, its name; of vectors, the least and the greatest likeness that was trained
    kind    one of the labels, several (any of them), a number, one of several texts, a span of a text; of vectors,
            which text belongs to which (pair) or how alike they are
    reads   the body's face: "encoder" from all sides, "decoder" from left to right
    texts   of an example, one or two; 0: nobody says, or it is not for the task to say
    thresholds  the chance from which on a label is given: of each where several may be right, of the second of two;
                None: a half
    characters  for tags: whether each character of a text is a word
    """

    task: str
    head: Head
    labels: tuple[str, ...]
    kind: Kind
    reads: Side
    texts: int = 0
    thresholds: tuple[float, ...] | None = None
    characters: bool = False

    @property
    def face(self) -> str:
        """What Hugging Face calls such a model, see `faces`; a body alone where it has no class for the head.

        Raises:
            ModelError: a head for a body that reads from all sides, on one that does not.
        """
        if self.head in _FACES:
            return _FACES[self.head] if self.reads == "encoder" else f"decoder-{_FACES[self.head]}"
        if self.reads == "decoder":
            raise ModelError(f"{self.task} needs a model that reads from all sides, this one reads from left to right")
        return "body"

    @property
    def heads(self) -> dict[str, Callable[[ModelConfig], nn.Module]]:
        """{name in a model: what makes it}."""
        count = len(self.labels)
        if self.head == "vector":
            return {"vector": lambda config: VectorHead()}
        if self.head in ("markers", "entities"):
            return {self.head: partial(RelationHead, labels=count, whole=self.head == "entities")}
        if self.head in ("tags", "span"):
            return {self.head: partial(TagsHead, labels=count)}
        return {"label": partial(LabelHead, labels=count, reads=self.reads)}

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Answers:
        """
        Raises:
            ModelError: something else than `as_json` wrote.
        """
        try:
            limits = values.get("thresholds")
            found = cls(
                **{
                    **values,
                    "labels": tuple(map(str, values["labels"])),
                    "thresholds": limits and tuple(map(float, limits)),
                }
            )
            if found.head not in get_args(Head) or found.kind not in get_args(Kind):
                raise KeyError(found.head)
        except (TypeError, KeyError, ValueError):
            raise ModelError(f"bothways.json: expected answers as Bothways writes them, got {dict(values)}") from None
        return found


Pool = Callable[[Tensor, Tensor, Tensor], Tensor]
"""hidden [B*T, D], where each text begins [N], which tokens are no padding [B*T] -> a state a text [N, D]."""


def _first(hidden: Tensor, at: Tensor, real: Tensor) -> Tensor:
    return hidden.index_select(0, at)


def _last(hidden: Tensor, at: Tensor, real: Tensor) -> Tensor:
    owner = _owner(at, real)
    place = torch.arange(len(real), device=at.device)
    ends = torch.zeros(len(at) + 1, dtype=torch.int64, device=at.device).scatter_reduce(0, owner, place, "amax")
    return hidden.index_select(0, ends[:-1])


def _mean(hidden: Tensor, at: Tensor, real: Tensor) -> Tensor:
    owner = _owner(at, real)
    sums = hidden.new_zeros(len(at) + 1, hidden.shape[1]).index_add(0, owner, hidden)
    counts = torch.bincount(owner, minlength=len(at) + 1)
    return sums[:-1] / counts[:-1, None].to(hidden.dtype)


def _owner(at: Tensor, real: Tensor) -> Tensor:
    """[B*T] the number of the text that each token belongs to, texts being laid one behind the other; padding: N."""
    begins = torch.zeros_like(real, dtype=torch.int64)
    begins[at] = 1
    order = at.argsort()  # rows are filled in any order
    return torch.where(real, order[(begins.cumsum(0) - 1).clamp(0)], len(at))


_WAYS: dict[tuple[str, Side], tuple[Pool, Callable[[Tensor], Tensor] | None]] = {
    ("bert", "encoder"): (_first, torch.tanh),
    ("roberta", "encoder"): (_first, torch.tanh),
    ("electra", "encoder"): (_first, F.gelu),
    ("llama", "encoder"): (_mean, F.gelu),
    ("llama", "decoder"): (_last, None),
    ("qwen3", "decoder"): (_last, None),
}
"""{(kind, how the body reads): (the state that speaks for a text, what follows a dense layer; None: there is none)}."""


class LabelHead(nn.Module):
    """One answer a text: from its first state, the mean of all, or its last, as the class of the same kind has it."""

    def __init__(self, config: ModelConfig, *, labels: int, reads: Side) -> None:
        super().__init__()
        way = _WAYS.get((kind_of(config), reads))
        if way is None:
            raise ModelError(f"a {kind_of(config)} that reads as a {reads} has no class for labels in transformers")
        self._pool, self._activation = way
        self.reads_targets_only = self._pool is _first
        self.dense = nn.Linear(config.width, config.width) if self._activation else None
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.width, labels, bias=reads == "encoder")

    def forward(self, hidden: Tensor, at: Tensor, real: Tensor) -> Tensor:
        """hidden [B*T, D], where each text begins [N], which tokens are no padding [B*T] -> logits [N, C]."""
        pooled = self._pool(hidden, at, real)
        if self.dense is not None and self._activation is not None:
            pooled = self._activation(self.dense(pooled))
        logits: Tensor = self.out(self.dropout(pooled))
        return logits


class TagsHead(nn.Module):
    """One answer a word, from the state of its first token; or the two of a span's ends, at every token."""

    reads_targets_only = True

    def __init__(self, config: ModelConfig, *, labels: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.width, labels)

    def forward(self, hidden: Tensor, at: Tensor, real: Tensor) -> Tensor:
        """hidden [B*T, D], the words' first tokens [N] -> logits [N, C]."""
        logits: Tensor = self.out(self.dropout(hidden.index_select(0, at)))
        return logits


class RelationHead(nn.Module):
    """One answer for two things in a text: from the states of the markers before them (entity markers, Baldini Soares
    et al. 2019, section 3); or, `whole`, from the text's first state and the means of both (R-BERT, Wu and He 2019)."""

    reads_targets_only = False

    def __init__(self, config: ModelConfig, *, labels: int, whole: bool) -> None:
        super().__init__()
        self.text = nn.Linear(config.width, config.width) if whole else None
        self.thing = nn.Linear(config.width, config.width) if whole else None
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear((3 if whole else 2) * config.width, labels)

    def forward(self, hidden: Tensor, at: Tensor, real: Tensor) -> Tensor:
        """hidden [B*T, D], at [N, 5] the beginning of a text and the markers around both things -> logits [N, C]."""
        if self.text is None or self.thing is None:
            read = hidden[at[:, [1, 3]]].flatten(1)
        else:
            things = torch.stack([_between(hidden, at[:, i], at[:, i + 1]) for i in (1, 3)], dim=1)  # [N, 2, D]
            text, both = self.dropout(hidden[at[:, 0]]), self.dropout(things)
            read = torch.cat([self.text(text.tanh()), self.thing(both.tanh()).flatten(1)], dim=-1)
        logits: Tensor = self.out(self.dropout(read))
        return logits


def _between(hidden: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """The means of the states from `first` [N] to and with `last` [N]: [N, D]."""
    place = first[:, None] + torch.arange(int((last - first).max()) + 1, device=first.device)
    inside = (place <= last[:, None])[..., None]
    states = torch.where(inside, hidden[place.clamp(max=len(hidden) - 1)], 0.0)
    return states.sum(1) / inside.sum(1)


class VectorHead(nn.Module):
    """The mean of a text's states, specials included, as sentence-transformers' mean pooling; nothing is learned."""

    reads_targets_only = False

    def forward(self, hidden: Tensor, at: Tensor, real: Tensor) -> Tensor:
        """hidden [B*T, D], where each text begins [N], which tokens are no padding [B*T] -> [N, D]."""
        return _mean(hidden, at, real)
