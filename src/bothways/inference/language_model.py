"""The Python face of a trained model: write, score, embed, and what a model was fine-tuned to predict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Unpack, overload

import numpy as np
import torch

from bothways.arguments import Texts, all_checked, several, several_or_pairs
from bothways.inference import asking
from bothways.inference.asking import Batching, GenerateKwargs, InfillKwargs, Pairs, PromptKwargs, Text, batched
from bothways.inference.decoding.generate import generate, stream
from bothways.inference.decoding.options import Generation, GenerationOptions, Order, Unmasking
from bothways.inference.decoding.sampling import Sampling
from bothways.inference.detect import Verdict, detect
from bothways.inference.embed import embed, layers
from bothways.inference.engine import Engine, checked_dtype
from bothways.inference.fill import Guess, fill
from bothways.inference.infill import Gap, infill
from bothways.inference.prompting import prompted
from bothways.inference.saving import save
from bothways.inference.score import perplexity, score
from bothways.inference.task_model import LEFT_OUT, TaskModel
from bothways.machine import device_of
from bothways.model.adapters import merged
from bothways.tasks.pattern import Verbaliser
from bothways.tasks.predictions import Label
from bothways.text import Tokenizer
from bothways.text.chat import Message

_OF_PROMPTS = {"examples": [], "calibrate": True, "how": None}
_LEFT_OUT = LEFT_OUT | {"adapter": None} | _OF_PROMPTS | asdict(GenerationOptions())
"""What is taken where a keyword is left out."""


@partial(all_checked, defaults=_LEFT_OUT)
@dataclass(frozen=True, slots=True)
class LanguageModel(TaskModel):
    """A trained model. Each method takes one text and gives one answer, or several and gives as many: a list, a
    generator, a column of pandas or `datasets`, an array. Those of many texts take `batch_size` and `progress`, too.

    Raises (all methods):
        ModelError: the objective did not teach it; the message says what was taught.
        UsageError: what is no text, an argument that there is not, or a text to fill in that is longer than the model
            reads (`generate` forgets its older half, or of a source the end, with a warning; `score` and `embed` read
            it in parts).
    """

    engine: Engine

    def __repr__(self) -> str:
        return f"LanguageModel({self.engine.about})"

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer: encode, decode, tokens, vocabulary."""
        return self.engine.tokenizer

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.engine.device

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> LanguageModel:
        """Moves the model to a device and into other numbers, in place, and returns it; what is left out stays.

        Raises:
            MachineError: there is no such device.
        """
        place = self.device if device is None else device_of(device)
        numbers, generates = checked_dtype(dtype or self.engine.model.table.dtype), self.engine.abilities.generates
        for one in (self.engine, *self.engine.adapters.values()):
            one.model.for_inference(device=place, dtype=numbers, generates=generates)
        return self

    def with_adapter(self, name: str | None) -> LanguageModel:
        """The same model with one of its adapters (`bothways.load(..., adapters=...)`); None: this very model. Nothing
        is copied, and both can be asked in turn."""
        return LanguageModel(asking.adapted(self.engine, name))

    def merge(self) -> LanguageModel:
        """A plain model of its own, with the adapter's products added to its weights: `save` writes it."""
        return LanguageModel(replace(self.engine, model=merged(self.engine.model), adapters={}))

    @overload
    def fill(self, texts: str, *, top_k: int = 5) -> list[list[Guess]]: ...
    @overload
    def fill(self, texts: Texts, *, top_k: int = 5, **batching: Unpack[Batching]) -> list[list[list[Guess]]]: ...
    def fill(
        self, texts: str | Texts, *, top_k: int = 5, **batching: Unpack[Batching]
    ) -> list[list[Guess]] | list[list[list[Guess]]]:
        """For every [MASK] of a text, the likeliest tokens (Guess: token, probability, text)."""
        given = several(texts)
        found = fill(batched(self.engine, len(given), batching), given, top_k=top_k)
        return found[0] if isinstance(texts, str) else found

    def prompt(
        self, texts: Text | Pairs, pattern: str, verbaliser: Verbaliser, **asking: Unpack[PromptKwargs]
    ) -> Label | list[Label]:
        """The label of a text or of a pair (Label: label, probabilities) by a pattern, "{text} It was [MASK].", and
        {label: its word}; the model need not be fine-tuned. `examples` are (text or pair, label), shown before every
        text; `calibrate`: less what is said of texts without content; `how`: "fill" or "continue"."""
        given = several_or_pairs(texts)
        found = prompted(batched(self.engine, len(given), asking), given, pattern, verbaliser, asking)
        return found[0] if isinstance(texts, str | tuple) else found

    @overload
    def infill(self, texts: str, **options: Unpack[InfillKwargs]) -> str: ...
    @overload
    def infill(self, texts: Texts, **options: Unpack[InfillKwargs]) -> list[str]: ...
    def infill(
        self,
        texts: str | Texts,
        *,
        length: int | None = None,
        longest: int = 8,
        steps: int | None = None,
        temperature: float = 0.0,
        order: Order = "confidence",
        seed: int = 0,
        **batching: Unpack[Batching],
    ) -> str | list[str]:
        """The text written out: each [MASK] is one token, and one [GAP] is `length` tokens or the best number of them.

        Args:
            length: of the gap, in tokens; None: all from 1 to `longest` are tried, see inference.infill.
            steps: in how many passes it is said; None: one token a pass.
            temperature: 0 takes the likeliest token every time.
            order: the most confident places are said first, or places at random.
        """
        gap = Gap(longest) if length is None else Gap(length, shortest=length)
        unmasking = Unmasking(Sampling(temperature), steps, order)
        given = several(texts)
        found = infill(batched(self.engine, len(given), batching), given, gap=gap, unmasking=unmasking, seed=seed)
        return found[0] if isinstance(texts, str) else found

    @overload
    def generate(
        self, prompts: str, options: GenerationOptions | None = None, **fields: Unpack[GenerateKwargs]
    ) -> Generation: ...
    @overload
    def generate(
        self,
        prompts: Texts,
        options: GenerationOptions | list[GenerationOptions] | None = None,
        *,
        batch_size: int | None = None,
        progress: bool | Callable[[int, int], None] = False,
        **fields: Unpack[GenerateKwargs],
    ) -> list[Generation]: ...
    def generate(
        self,
        prompts: str | Texts,
        options: GenerationOptions | list[GenerationOptions] | None = None,
        *,
        batch_size: int | None = None,
        progress: bool | Callable[[int, int], None] = False,
        **fields: Unpack[GenerateKwargs],
    ) -> Generation | list[Generation]:
        """What the model writes after the prompt, or before it (Generation: text, tokens, logprob, finish_reason); of a
        model that was fine-tuned to write, the text for a source, the likeliest token every time; of several tasks that
        it writes for, `head` names one.

        The options are a record, one a prompt, or their names; GenerationOptions says what they mean.
        max_new_tokens=40, temperature=1.0, top_k=None, top_p=1.0, seed=0, no_repeat_ngram_size=None, eos_token_id=None;
        to look for the likeliest text: num_beams=None, length_penalty=0.6; for models that decode by unmasking:
        steps=None, order="confidence"; for what a chat template wrote: special_tokens=False.
        """
        given = several(prompts)
        engine = batched(self.engine, len(given), {"batch_size": batch_size, "progress": progress})
        found = asking.generated(engine, given, options, fields)
        return found[0] if isinstance(prompts, str) else found

    def summarise(self, sources: str | Texts, **fields: Unpack[GenerateKwargs]) -> Generation | list[Generation]:
        """`generate` of a model that was fine-tuned to summarise."""
        return self._written("summarise", sources, fields)

    def translate(self, sources: str | Texts, **fields: Unpack[GenerateKwargs]) -> Generation | list[Generation]:
        """`generate` of a model that was fine-tuned to translate."""
        return self._written("translate", sources, fields)

    def _written(self, task: str, sources: str | Texts, fields: GenerateKwargs) -> Generation | list[Generation]:
        given = several(sources)
        found = asking.generated(batched(self.engine, len(given), {}), given, None, fields, task=task)
        return found[0] if isinstance(sources, str) else found

    def stream(
        self, prompt: str, options: GenerationOptions | None = None, **fields: Unpack[GenerateKwargs]
    ) -> Iterator[str]:
        """The text that `generate` gives for one prompt, in the parts in which it is generated."""
        return stream(*asking.one_request(self.engine, prompt, options, fields))

    def chat(
        self,
        messages: Sequence[Message],
        options: GenerationOptions | None = None,
        *,
        now: datetime | None = None,
        **fields: Unpack[GenerateKwargs],
    ) -> Generation:
        """What the model answers to messages {"role": "user", "content": "..."}, by its own chat template, until a
        token that ends its turn; `now` is the time that the template is told, else the clock's, and of several tasks
        that it was taught `head` names one."""
        engine, request = asking.chat_request(self.engine, messages, options, now or datetime.now(), fields)
        return generate(engine, [request])[0]

    def stream_chat(
        self,
        messages: Sequence[Message],
        options: GenerationOptions | None = None,
        *,
        now: datetime | None = None,
        **fields: Unpack[GenerateKwargs],
    ) -> Iterator[str]:
        """The same in the parts in which it is generated."""
        return stream(*asking.chat_request(self.engine, messages, options, now or datetime.now(), fields))

    @overload
    def score(self, texts: str, *, how: str = "causal", within_word: bool = False) -> float: ...
    @overload
    def score(
        self, texts: Texts, *, how: str = "causal", within_word: bool = False, **batching: Unpack[Batching]
    ) -> np.ndarray: ...
    def score(
        self, texts: str | Texts, *, how: str = "causal", within_word: bool = False, **batching: Unpack[Batching]
    ) -> float | np.ndarray:
        """Sum of the log-probabilities of the text's tokens in nats; see inference.score for the ways."""
        given = several(texts)
        found = score(batched(self.engine, len(given), batching), given, how=how, within_word=within_word)
        return float(found[0]) if isinstance(texts, str) else found

    @overload
    def perplexity(self, texts: str, *, how: str = "causal", within_word: bool = False) -> float: ...
    @overload
    def perplexity(
        self, texts: Texts, *, how: str = "causal", within_word: bool = False, **batching: Unpack[Batching]
    ) -> np.ndarray: ...
    def perplexity(
        self, texts: str | Texts, *, how: str = "causal", within_word: bool = False, **batching: Unpack[Batching]
    ) -> float | np.ndarray:
        """exp of the mean negative log-likelihood of the text's tokens, those that `score` counts; float64 [texts].

        Lower is better, and 1 is certainty. Of models with other tokenizers only bits per byte can be compared.

        Raises:
            UsageError: a text with no token to predict.
        """
        given = several(texts)
        found = perplexity(batched(self.engine, len(given), batching), given, how=how, within_word=within_word)
        return float(found[0]) if isinstance(texts, str) else found

    def save(self, folder: str | Path) -> list[Path]:
        """Writes the model as folders that transformers loads, one for each face, and returns them."""
        return save(self.engine, folder)

    def embed(self, texts: str | Texts, **batching: Unpack[Batching]) -> np.ndarray:
        """float32 [texts, D] ([D] for one text): the mean of the states of its tokens."""
        given = several(texts)
        found = embed(batched(self.engine, len(given), batching), given)
        return np.asarray(found[0]) if isinstance(texts, str) else found

    def layers(self, texts: str | Texts, **batching: Unpack[Batching]) -> np.ndarray:
        """float32 [texts, L + 1, D]: the same of every layer, for readers that mix them (inference.embed.ScalarMix)."""
        given = several(texts)
        found = layers(batched(self.engine, len(given), batching), given)
        return np.asarray(found[0]) if isinstance(texts, str) else found

    @overload
    def detect(self, texts: str) -> list[Verdict]: ...
    @overload
    def detect(self, texts: Texts, **batching: Unpack[Batching]) -> list[list[Verdict]]: ...
    def detect(self, texts: str | Texts, **batching: Unpack[Batching]) -> list[Verdict] | list[list[Verdict]]:
        """Every word of a text with the chance that it was replaced (Verdict: word, replaced)."""
        given = several(texts)
        found = detect(batched(self.engine, len(given), batching), given)
        return found[0] if isinstance(texts, str) else found
