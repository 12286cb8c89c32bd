"""A model at work: whatever asks a model asks it here for hidden states and logits.

Rows are sorted by length before they are put together, so that hardly any padding is computed; a row's answer does
not depend on the company it is in.

Letters: B rows, T tokens, D width, N places, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bothways.arguments import shown
from bothways.errors import ModelError, UsageError
from bothways.model import Abilities, Cache, Model, SentenceModules
from bothways.model.abilities import Writes
from bothways.model.passing import Memory, Pass
from bothways.text import Tokenizer
from bothways.text.template import Tokens
from bothways.visibility import Layout, Visibility, ordered

TOKENS_AT_ONCE = 1024  # on a CPU, where larger batches fall out of the cache: 4096 is a quarter slower in float32
LOGITS_AT_ONCE = 2**24  # 64 MiB in float32
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)

_TAUGHT_BY = {
    "encoder": ("read from all sides", "mlm or hybrid"),
    "decoder": ("continue a text", "causal or hybrid"),
    "hidden": ("fill in hidden words", "mlm or hybrid"),
    "detect": ("tell which words were replaced", "electra"),
    "unmask": ("continue a text in a number of steps", "diffusion, mlm or bang"),
}


@dataclass(frozen=True, slots=True)
class Engine:
    """A model with its tokenizer, on one device, what it was taught, and how sentence-transformers makes vectors of it,
    where its folder says.

    batch_size  rows computed at once; None: as many tokens as suit the device
    name        where the model is from, in a message
    adapters    {name: an engine of the same model with an adapter on it}, which shares all its other weights
    watch       told the share of the work that is done, up to 1.0
    """

    model: Model
    tokenizer: Tokenizer
    abilities: Abilities
    sentence: SentenceModules | None = None
    batch_size: int | None = None
    name: str = "this model"
    adapters: Mapping[str, Engine] = field(default_factory=dict)
    watch: Callable[[float], None] = lambda share: None

    @property
    def about(self) -> str:
        """In a few words, for whoever prints it."""
        config, abilities = self.model.config, self.abilities
        tasks = ", ".join(head.task for head in abilities.heads.values())
        kind = tasks or " and ".join(abilities.faces) or f"body, {abilities.reads}"
        kind = "encoder-decoder" if config.decoder and not tasks else kind
        size = sum(parameter.numel() for parameter in self.model.parameters()) / 1e6
        layers = f"{config.layers} and {config.decoder.layers}" if config.decoder else config.layers
        what = f"{layers} layers of {config.width}, {size:.1f} million weights, {config.vocabulary} tokens"
        return f"{kind}: {what}, {config.length} read at once; {self.model.table.dtype} on {self.device}"

    def __repr__(self) -> str:
        return f"Engine({self.about})"

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.table.device

    @property
    def length(self) -> int:
        """Tokens of a text at most: what the body reads, or less where it was fine-tuned on less."""
        return min(self.model.config.length, self.tokenizer.length or self.model.config.length)

    def needs(self, what: str) -> None:
        """
        Raises:
            ModelError: the objective did not teach it ("encoder", "decoder", "hidden": to fill in hidden words, or a
                way of decoding).
        """
        abilities = self.abilities
        if abilities.hidden is not None if what == "hidden" else what in (*abilities.faces, *abilities.decoding):
            if what == "hidden" and self.tokenizer.vocabulary.mask < 0:
                raise ModelError("this model's tokenizer has no token for [MASK]: name it in tokenizer_config.json")
            return
        raise self.cannot(what)

    def cannot(self, what: str) -> ModelError:
        """The error for what the objective did not teach; it lists what it did."""
        abilities = self.abilities
        task, objectives = _TAUGHT_BY[what]
        whence = f"its objective, {abilities.objective}," if abilities.objective else "its architecture"
        faces = " and ".join(abilities.faces) or "none"
        ways = f", and the ways of decoding: {', '.join(abilities.decoding)}" if abilities.decoding else ""
        return ModelError(
            f"this model was not taught to {task}: {whence} gives the faces: {faces}{ways}. "
            f"Pretrain one with the objective {objectives}."
        )

    def finite(self, found: Tensor) -> Tensor:
        """What the model computed, as it is. All that it answers with goes through here.

        Raises:
            ModelError: not a number, or infinite, somewhere.
        """
        if not math.isfinite(found.sum(dtype=torch.float32)):  # one pass over it: whatever is not finite stays so
            raise ModelError(
                f"{self.name}: expected numbers as its answer, got what is not finite (nan or infinity). Its weights "
                "are damaged, or learned at too high a rate: bring them back from a copy, or train again."
            )
        return found

    @property
    def pretrained_here(self) -> bool:
        """By Bothways: its rows were [CLS] text [SEP], and no other special token was ever to be said."""
        return bool(self.abilities.objective)

    @property
    def writes(self) -> Writes | None:
        """How it writes a text for a source, where it was fine-tuned to that alone, or is asked to (`writing_as`)."""
        head = self.abilities.writer
        return head.writes if head else None

    def suppressed(self, ends: Collection[int] = ()) -> Tensor:
        """The tokens that are never generated: the special ones but those that end a text, and those that the
        tokenizer does not know."""
        known = self.tokenizer.vocabulary.size - len(self.tokenizer.prompt)  # a soft prompt's tokens cannot be said
        unknown = range(known, self.model.config.vocabulary)
        special = self.tokenizer.vocabulary.special - {*ends, *self.tokenizer.prompt}
        return torch.tensor(sorted({*special, *unknown}), dtype=torch.int64, device=self.device)

    def suppressed_onwards(self, ends: Collection[int]) -> Tensor:
        """The same while a text goes on. A model of others may then generate its special tokens, as transformers lets
        it; they are left out of the text."""
        return self.suppressed(ends if self.pretrained_here else self.tokenizer.vocabulary.special)

    def around(self, *, closed: bool) -> tuple[Tokens, Tokens]:
        """What stands before and behind a text: [CLS] and [SEP] where Bothways pretrained, else what the tokenizer puts
        there, which for many decoders is nothing. Behind it nothing unless `closed`: the text goes on."""
        vocabulary = self.tokenizer.vocabulary
        before, after = self.tokenizer.frame.one
        if self.pretrained_here:
            before, after = (*self.tokenizer.prompt, vocabulary.cls), (vocabulary.sep,)
        if writes := self.writes:
            before, after = writes.opening, writes.behind
        return before, after if closed else ()

    @property
    def given(self) -> int:
        """How many tokens of a row that goes on are given: those before the text, or the first where none are put."""
        return max(1, len(self.around(closed=False)[0]))

    def rows(
        self, texts: Sequence[str], *, closed: bool, longest: int | None = None
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Texts with what is `around` them: int64 rows, and for each row the number of its text.

        A text longer than the model reads, or than `longest`, becomes several rows of nearly one length, each with its
        own specials: rows are cut like that in training too.
        """
        length = min(self.model.config.length, longest or self.model.config.length)
        room = length - sum(map(len, self.around(closed=closed)))
        rows, owner = [], []
        for number, tokens in enumerate(self.tokenizer.encode_batch(texts)):
            for part in np.array_split(np.array(tokens, dtype=np.int64), max(1, math.ceil(len(tokens) / room))):
                rows.append(self._row(part, closed=closed))
                owner.append(number)
        return rows, np.array(owner, dtype=np.int64)

    @torch.inference_mode()
    def states(
        self,
        tokens: Tensor,
        layout: Layout,
        *,
        rule: Visibility | None = None,
        cache: Cache | None = None,
        at: Tensor | None = None,
    ) -> Tensor:
        """The hidden states [B, T, D] of tokens [B, T], or at places `at` [N] of the flat batch alone, [N, D].

        Args:
            rule: who sees whom; None: as the model was trained.
            cache: the tokens stand behind its last B sequences, see them, and are added to them.
        """
        backbone, rule = self.model.backbone, rule or self.model.rule
        mask = self._mask(layout, rule) if cache is None else rule.dense(layout, cache.grow(layout))
        return self.finite(backbone.encode(backbone.embeddings(tokens, layout), Pass(layout, mask, cache=cache, at=at)))

    @torch.inference_mode()
    def decoder_states(
        self,
        tokens: Tensor,
        layout: Layout,
        cache: Cache,
        sources: Cache,
        *,
        source: tuple[Tensor, Layout] | None = None,
        at: Tensor | None = None,
    ) -> Tensor:
        """The states [B, T, D] of what a decoder wrote, tokens [B, T], or at places `at` [N] of the flat batch, [N, D].

        Args:
            cache: of what was written before, of which these are the last B sequences.
            sources: of what their encoder read.
            source: tokens and layout [B, S] of new sources; None: they are in `sources`.
        """
        model, rule = self.model, self.model.rule
        assert model.decoder is not None
        states = None
        if source is not None:
            states = self.states(*source)
        known = sources.reread(len(tokens)) if source is None else sources.grow(source[1])
        memory = Memory(states, rule.across(layout, known), sources)
        mask = rule.dense(layout, cache.grow(layout))
        given = Pass(layout, mask, cache=cache, at=at, memory=memory)
        return self.finite(model.decoder.encode(model.decoder.embeddings(tokens, layout, model.table), given))

    def all_states(self, tokens: Tensor, layout: Layout) -> Iterator[Tensor]:
        """The states [B, T, D] after the embeddings and after every block, one by one."""
        backbone = self.model.backbone
        with torch.inference_mode():
            given = Pass(layout, self._mask(layout, self.model.rule))
            yield from map(self.finite, backbone.states(backbone.embeddings(tokens, layout), given))

    def _mask(self, layout: Layout, rule: Visibility) -> Tensor | None:
        return None if rule is ordered and _all_see_all(layout) else rule.dense(layout)

    @torch.inference_mode()
    def logits(self, states: Tensor, head: str = "words") -> Tensor:
        """What a head makes of states [..., D]: of the words, [..., V], float32."""
        return self.finite(self._logits(states, head))

    def _logits(self, states: Tensor, head: str = "words") -> Tensor:
        found: Tensor = self.model.logits(states) if head == "words" else self.model.heads[head](states)
        return found.float()

    def inside(self, row: np.ndarray) -> np.ndarray:
        """The places of a closed row where its text stands."""
        before, after = self.around(closed=True)
        return np.arange(len(before), len(row) - len(after))

    def marked_rows(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Texts with what is `around` them, where [MASK] in a text is the mask: one int64 array a text.

        Raises:
            UsageError: a text longer than the model reads; it is named.
        """
        longest = self.model.config.length
        rows = [self._row(self.tokenizer.encode_marked(text), closed=True) for text in texts]
        for number, row in enumerate(rows, 1):
            if len(row) > longest:
                raise UsageError(
                    f"text {number} ({texts[number - 1][:30]!r}...) has {len(row)} tokens with its specials; the model "
                    f"reads at most {longest}. Leave out what is farthest from [MASK]."
                )
        return rows

    def _row(self, tokens: Sequence[int] | np.ndarray, *, closed: bool) -> np.ndarray:
        before, after = self.around(closed=closed)
        return np.array([*before, *tokens, *after] or self.tokenizer.nothing, dtype=np.int64)

    def read_all(self, rows: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Batches of (numbers of the rows [B], their states [B, T, D]), rows of like length together; all see all."""
        for batch in self.passes([len(row) for row in rows]):
            yield batch, self.read([rows[i] for i in batch], face="encoder")

    def read(self, rows: Sequence[np.ndarray], *, face: str, places: np.ndarray | None = None) -> Tensor:
        """The states [B, T, D] of one batch of rows; or of one place of each, `places` [B]: [B, D], which is faster."""
        tokens, layout = self.collate(rows, face=face)
        at = None if places is None else self.flat(tokens, places)
        return self.states(tokens, layout, at=at)

    def flat(self, tokens: Tensor, places: Sequence[int] | np.ndarray) -> Tensor:
        """One place [B] of each row of tokens [B, T], counted through the flat batch."""
        return torch.from_numpy(np.arange(len(tokens)) * tokens.shape[1] + np.asarray(places)).to(self.device)

    def collate(self, rows: Sequence[np.ndarray], *, face: str) -> tuple[Tensor, Layout]:
        """Rows of unequal length as tokens [B, T] and a layout, the padding at the end."""
        length = max(map(len, rows))
        tokens = np.full((len(rows), length), max(0, self.tokenizer.vocabulary.pad))  # nobody sees it
        for row, target in zip(rows, tokens, strict=True):
            target[: len(row)] = row
        real = np.arange(length) < np.array([len(row) for row in rows])[:, None]  # [B, T]
        position = np.where(real, np.arange(length), 0)
        layout = Layout.of(
            document=np.where(real, 0, -1 - np.arange(length)),
            step=position if face == "decoder" else np.zeros_like(position),
            position=position,
        )
        return torch.from_numpy(tokens).to(self.device), layout.map(torch.from_numpy).to(self.device)

    def new_cache(self, *, rows: int, capacity: int, decoder: bool = False) -> Cache:
        """An empty one, for so many rows of so many tokens; `decoder`: of a decoder's blocks."""
        own, like = self.model.backbone.prefix, self.model.table
        prefix = None if own is None or decoder else own().detach()
        return Cache(self.model.config, rows=rows, capacity=capacity, like=like, decoder=decoder, prefix=prefix)

    def behind(self, cache: Cache, count: int) -> Layout:
        """The next places [B, count] of every sequence in the cache, read from left to right."""
        known = torch.tensor(cache.lengths, dtype=torch.int32, device=self.device)[:, None]
        position = known + torch.arange(count, dtype=torch.int32, device=self.device)
        zeros = torch.zeros_like(position)
        return Layout(document=zeros, step=position, group=zeros, position=position)

    @torch.inference_mode()
    def log_probabilities(self, hidden: Tensor, labels: np.ndarray) -> np.ndarray:
        """log p(label) in nats at each place: hidden [N, D], labels [N] -> float32 [N]."""
        targets = torch.from_numpy(labels).to(self.device)
        chunk = max(1, LOGITS_AT_ONCE // self.model.config.vocabulary)
        found = []
        for some, label in zip(hidden.split(chunk), targets.split(chunk), strict=True):
            found.append(-F.cross_entropy(self._logits(some), label, reduction="none"))
        return self.finite(torch.cat(found)).cpu().numpy()  # not the logits: whatever is wrong in them is wrong here

    def batches(self, lengths: Sequence[int]) -> Iterator[np.ndarray]:
        """The numbers of the rows, longest first, in batches of a size that suits the device, padding counted."""
        tokens = TOKENS_AT_ONCE if self.device.type == "cpu" else 16 * TOKENS_AT_ONCE
        order = np.argsort(-np.asarray(lengths), kind="stable")
        start = 0
        while start < len(order):
            stop = start + (self.batch_size or max(1, tokens // max(1, lengths[order[start]])))
            yield order[start:stop]
            start = stop

    def passes(self, lengths: Sequence[int]) -> Iterator[np.ndarray]:
        """The same where each row is read once: `watch` is told how many have been."""
        done = 0
        for batch in self.batches(lengths):
            yield batch
            done += len(batch)
            self.watch(done / len(lengths))


def checked_dtype(dtype: torch.dtype) -> torch.dtype:
    """
    Raises:
        UsageError: no kind of numbers to compute in.
    """
    if dtype not in DTYPES:
        raise UsageError(f"dtype: expected {', '.join(map(str, DTYPES))}, got {shown(dtype)}")
    return dtype


def _all_see_all(layout: Layout) -> bool:
    """Whether no row has padding, steps, groups, or a token that is hidden."""
    alike = (layout.document, layout.step, layout.group)
    hides = layout.hidden is not None and bool(layout.hidden.any())
    return not hides and all(bool((column == column[:, :1]).all()) for column in alike)
