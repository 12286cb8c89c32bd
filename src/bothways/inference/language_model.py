"""The Python face of a trained model: load, write, score, embed, and what a model was fine-tuned to say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, Unpack, overload

import numpy as np
import torch

from bothways.arguments import all_checked, checked, several, several_or_pairs, shown
from bothways.errors import ModelError, UsageError
from bothways.inference.decoding.generate import generate, stream
from bothways.inference.decoding.options import (
    Generation,
    GenerationOptions,
    GenerationRequest,
    Options,
    Order,
    Unmasking,
)
from bothways.inference.decoding.sampling import Sampling
from bothways.inference.detect import Verdict, detect
from bothways.inference.embed import embed, layers
from bothways.inference.engine import Engine
from bothways.inference.fill import Guess, fill
from bothways.inference.infill import Gap, infill
from bothways.inference.pipeline import predict
from bothways.inference.saving import save
from bothways.inference.score import score
from bothways.machine import device_of
from bothways.model import local, read_saved, read_sentence_modules
from bothways.tasks.answer import Span
from bothways.tasks.choose import Choice
from bothways.tasks.classify import Number
from bothways.tasks.intent import Intended
from bothways.tasks.predictions import Label
from bothways.tasks.tag import Tagged
from bothways.text import Tokenizer
from bothways.text.chat import Message, chat_tokens

_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
Text = str | tuple[str, str]
FACES = ("encoder", "decoder", "body", "model")


@checked
def load(
    model: str | Path, *, device: torch.device | str | None = None, dtype: torch.dtype = torch.float32
) -> LanguageModel:
    """Opens a run, or a published model of a family that `bothways models` lists.

    Args:
        model: a run with `encoder/`, `decoder/` or `body/` in it, a Hugging Face folder, or a name of its hub.
        device: where to compute, "cpu", "cuda", "cuda:1"; a GPU when there is one.
        dtype: what to compute in; torch.bfloat16 is faster where the processor has instructions for it.

    Raises:
        ModelError: nothing there, or it cannot be read.
        MachineError: there is no such device.
        UsageError: what is no device, or no kind of numbers to compute in.
    """
    place = device_of(device)
    if dtype not in _DTYPES:
        raise UsageError(f"dtype: expected {', '.join(map(str, _DTYPES))}, got {shown(dtype)}")
    found = folder_of(local(model))
    saved = read_saved(found)
    tokenizer = Tokenizer.load(found)
    if tokenizer.vocabulary.size > saved.model.config.vocabulary:
        raise ModelError(
            f"{found}: the tokenizer has {tokenizer.vocabulary.size} tokens, the model "
            f"{saved.model.config.vocabulary}: they do not belong together"
        )
    body = saved.model.eval().to(device=place, dtype=dtype)
    return LanguageModel(Engine(body, tokenizer, saved.trained, read_sentence_modules(found)))


def folder_of(folder: Path) -> Path:
    """The folder of a run, or one that is no run, in which the model is.

    Raises:
        ModelError: there is none.
    """
    found = next((folder / face for face in FACES if (folder / face / "config.json").is_file()), folder)
    if not (found / "config.json").is_file():
        raise ModelError(
            f"{folder} holds no model: expected a run with {', '.join(f'{face}/' for face in FACES)} in it, or a "
            "Hugging Face folder with config.json. A run has them once it is finished."
        )
    return found


Prompts = TypeVar("Prompts", str, list[str])


def _requests(
    prompts: list[str], options: GenerationOptions | list[GenerationOptions] | None, fields: Options
) -> list[GenerationRequest]:
    """
    Raises:
        UsageError: options twice, or another number of them than of prompts.
    """
    if options is not None and fields:
        raise UsageError(f"expected the options as a record or by their names, got both: {', '.join(fields)} too")
    if not isinstance(options, list):
        record = GenerationOptions(**fields) if options is None else options
        return [GenerationRequest(one, record, (record.seed, number)) for number, one in enumerate(prompts)]
    given: list[object] = [*options]
    if odd := [one for one in given if not isinstance(one, GenerationOptions)]:
        raise UsageError(f"options: expected a list of GenerationOptions, got {shown(odd[0])} in it")
    if len(options) != len(prompts):
        raise UsageError(f"expected options for each of {len(prompts)} prompts, got {len(options)}")
    return [GenerationRequest(*pair) for pair in zip(prompts, options, strict=True)]


@all_checked
@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A trained model. Each method takes one text and gives one answer, or several and gives as many.

    Raises (all methods):
        ModelError: the objective did not teach it; the message says what was taught.
        UsageError: what is no text, an argument that there is not, or a text to fill in that is longer than the model
            reads (`generate` forgets its older half, `score` and `embed` read it in parts).
    """

    engine: Engine

    def __repr__(self) -> str:
        return f"LanguageModel({self.engine.about})"

    @overload
    def fill(self, texts: str, *, top_k: int = 5) -> list[list[Guess]]: ...
    @overload
    def fill(self, texts: list[str], *, top_k: int = 5) -> list[list[list[Guess]]]: ...
    def fill(self, texts: str | list[str], *, top_k: int = 5) -> list[list[Guess]] | list[list[list[Guess]]]:
        """For every [MASK] of a text, the likeliest tokens (Guess: token, probability, text)."""
        found = fill(self.engine, several(texts), top_k=top_k)
        return found[0] if isinstance(texts, str) else found

    def infill(
        self,
        texts: Prompts,
        *,
        length: int | None = None,
        longest: int = 8,
        steps: int | None = None,
        temperature: float = 0.0,
        order: Order = "confidence",
        seed: int = 0,
    ) -> Prompts:
        """The text written out: each [MASK] is one token, and one [GAP] is `length` tokens or the best number of them.

        Args:
            length: of the gap, in tokens; None: all from 1 to `longest` are tried, see inference.infill.
            steps: in how many passes it is said; None: one token a pass.
            temperature: 0 takes the likeliest token every time.
            order: the most confident places are said first, or places at random.
        """
        gap = Gap(longest) if length is None else Gap(length, shortest=length)
        unmasking = Unmasking(Sampling(temperature), steps, order)
        found = infill(self.engine, several(texts), gap=gap, unmasking=unmasking, seed=seed)
        if isinstance(texts, str):
            return found[0]
        return found

    @overload
    def generate(
        self, prompts: str, options: GenerationOptions | None = None, **fields: Unpack[Options]
    ) -> Generation: ...
    @overload
    def generate(
        self,
        prompts: list[str],
        options: GenerationOptions | list[GenerationOptions] | None = None,
        **fields: Unpack[Options],
    ) -> list[Generation]: ...
    def generate(
        self,
        prompts: str | list[str],
        options: GenerationOptions | list[GenerationOptions] | None = None,
        **fields: Unpack[Options],
    ) -> Generation | list[Generation]:
        """What the model writes after the prompt, or before it (Generation: text, tokens, logprob, finish_reason).

        The options are a record, one a prompt, or their names; GenerationOptions says what they mean.
        max_new_tokens=40, temperature=1.0, top_k=None, top_p=1.0, seed=0, no_repeat_ngram_size=None, eos_token_id=None;
        to look for the likeliest text: num_beams=None, length_penalty=0.6; for models that decode by unmasking:
        steps=None, order="confidence"; for what a chat template wrote: special_tokens=False.
        """
        found = generate(self.engine, _requests(several(prompts), options, fields))
        return found[0] if isinstance(prompts, str) else found

    def stream(self, prompt: str, options: GenerationOptions | None = None, **fields: Unpack[Options]) -> Iterator[str]:
        """The text that `generate` gives for one prompt, in the parts in which it is generated."""
        (request,) = _requests([prompt], options, fields)
        return stream(self.engine, request)

    def chat(
        self,
        messages: Sequence[Message],
        options: GenerationOptions | None = None,
        *,
        now: datetime | None = None,
        **fields: Unpack[Options],
    ) -> Generation:
        """What the model answers to messages {"role": "user", "content": "..."}, by its own chat template, until a
        token that ends its turn; `now` is the time that the template is told, else the clock's."""
        return generate(self.engine, [self._chat_request(messages, options, now, fields)])[0]

    def stream_chat(
        self,
        messages: Sequence[Message],
        options: GenerationOptions | None = None,
        *,
        now: datetime | None = None,
        **fields: Unpack[Options],
    ) -> Iterator[str]:
        """The same in the parts in which it is generated."""
        return stream(self.engine, self._chat_request(messages, options, now, fields))

    def _chat_request(
        self, messages: Sequence[Message], options: GenerationOptions | None, now: datetime | None, fields: Options
    ) -> GenerationRequest:
        tokens = chat_tokens(self.engine.tokenizer, messages, now=now or datetime.now())
        (request,) = _requests([""], options, fields)
        return replace(request, prompt=np.array(tokens, dtype=np.int64))

    @overload
    def score(self, texts: str, *, how: str = "causal", within_word: bool = False) -> float: ...
    @overload
    def score(self, texts: list[str], *, how: str = "causal", within_word: bool = False) -> np.ndarray: ...
    def score(self, texts: str | list[str], *, how: str = "causal", within_word: bool = False) -> float | np.ndarray:
        """Sum of the log-probabilities of the text's tokens in nats; see inference.score for the ways."""
        found = score(self.engine, several(texts), how=how, within_word=within_word)
        return float(found[0]) if isinstance(texts, str) else found

    def save(self, folder: str | Path) -> list[Path]:
        """Writes the model as folders that transformers loads, one for each face, and returns them."""
        return save(self.engine, folder)

    def embed(self, texts: str | list[str]) -> np.ndarray:
        """float32 [texts, D] ([D] for one text): the mean of the states of its tokens."""
        found = embed(self.engine, several(texts))
        return np.asarray(found[0]) if isinstance(texts, str) else found

    def layers(self, texts: str | list[str]) -> np.ndarray:
        """float32 [texts, L + 1, D]: the same of every layer, for readers that mix them (inference.embed.ScalarMix)."""
        found = layers(self.engine, several(texts))
        return np.asarray(found[0]) if isinstance(texts, str) else found

    def predict(self, task: str, inputs: Sequence[Any], *, head: str | None = None) -> list[Any]:
        """Predictions of any task that the model was fine-tuned to, one's own too, for a list of what the task takes: a
        text or a tuple of them.

        Args:
            head: by its name, where several heads were trained to the task.
        """
        return predict(self.engine, task, inputs, head=head)

    @overload
    def classify(self, texts: Text, *, head: str | None = None) -> Label: ...
    @overload
    def classify(self, texts: list[str] | list[tuple[str, str]], *, head: str | None = None) -> list[Label]: ...
    def classify(
        self, texts: Text | list[str] | list[tuple[str, str]], *, head: str | None = None
    ) -> Label | list[Label]:
        """The label of a text or of a pair (Label: label, probabilities); of a model fine-tuned to classify."""
        found = predict(self.engine, "classify", several_or_pairs(texts), head=head)
        return found[0] if isinstance(texts, str | tuple) else found

    @overload
    def regress(self, texts: Text, *, head: str | None = None) -> float: ...
    @overload
    def regress(self, texts: list[str] | list[tuple[str, str]], *, head: str | None = None) -> np.ndarray: ...
    def regress(
        self, texts: Text | list[str] | list[tuple[str, str]], *, head: str | None = None
    ) -> float | np.ndarray:
        """The number of a text or of a pair, float32 [texts] of several; of a model fine-tuned to match."""
        scores: list[Number] = predict(self.engine, "regress", several_or_pairs(texts), head=head)
        found = np.array([one.score for one in scores], dtype=np.float32)
        return float(found[0]) if isinstance(texts, str | tuple) else found

    @overload
    def tag(self, texts: str, *, head: str | None = None) -> Tagged: ...
    @overload
    def tag(self, texts: list[str], *, head: str | None = None) -> list[Tagged]: ...
    def tag(self, texts: str | list[str], *, head: str | None = None) -> Tagged | list[Tagged]:
        """The words of a text with their tags and the names they make up; of a model fine-tuned to tag."""
        found = predict(self.engine, "tag", several(texts), head=head)
        return found[0] if isinstance(texts, str) else found

    @overload
    def intent(self, texts: str, *, head: str | None = None) -> Intended: ...
    @overload
    def intent(self, texts: list[str], *, head: str | None = None) -> list[Intended]: ...
    def intent(self, texts: str | list[str], *, head: str | None = None) -> Intended | list[Intended]:
        """What a text is for and the slots of its words (Intended: as Tagged, with intent and intent_probability); of a
        model fine-tuned to intent."""
        found = predict(self.engine, "intent", several(texts), head=head)
        return found[0] if isinstance(texts, str) else found

    @overload
    def relate(self, texts: str, *, head: str | None = None) -> Label: ...
    @overload
    def relate(self, texts: list[str], *, head: str | None = None) -> list[Label]: ...
    def relate(self, texts: str | list[str], *, head: str | None = None) -> Label | list[Label]:
        """How the two things of a text are related, "The <e1>company</e1> makes <e2>chairs</e2>."; of a model
        fine-tuned to relate."""
        found = predict(self.engine, "relate", several(texts), head=head)
        return found[0] if isinstance(texts, str) else found

    def answer(self, question: str, context: str, *, head: str | None = None) -> Span:
        """The span of the context that answers (Span: text, start, end, probability, margin), or none; of a model
        fine-tuned to answer."""
        found: Span = predict(self.engine, "answer", [(question, context)], head=head)[0]
        return found

    def choose(self, question: str, choices: list[str], *, context: str = "", head: str | None = None) -> Choice:
        """Which of the texts (Choice: choice, probabilities); of a model fine-tuned to choose."""
        inputs = (question, several(choices, "choice"), context)
        found: Choice = predict(self.engine, "choose", [inputs], head=head)[0]
        return found

    @overload
    def detect(self, texts: str) -> list[Verdict]: ...
    @overload
    def detect(self, texts: list[str]) -> list[list[Verdict]]: ...
    def detect(self, texts: str | list[str]) -> list[Verdict] | list[list[Verdict]]:
        """Every word of a text with the chance that it was replaced (Verdict: word, replaced)."""
        found = detect(self.engine, several(texts))
        return found[0] if isinstance(texts, str) else found
