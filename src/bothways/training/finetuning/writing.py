"""How a model is taught to write: by which objective, what each epoch draws from an example, and what it can do then.

An example is a row of a source and a target, [CLS] source [SEP] target [SEP], and any objective that predicts the
target of a pair after its source reads samples from it, anew in each epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from bothways.batch import Row, Sample
from bothways.errors import ModelError, UsageError, unknown
from bothways.inference.loading import folder_of
from bothways.inference.writing import usual_options
from bothways.model import Abilities, Model, ModelConfig, TaskHead, architecture, local, read_saved, with_word_head
from bothways.model.abilities import WORDS, Writes
from bothways.model.two_sided import begun, begun_decoder, with_decoder
from bothways.objectives import Objective, build
from bothways.objectives.expression import parse
from bothways.tasks.text2text import WritingTask
from bothways.text import Tokenizer
from bothways.training.finetuning.config import FinetuneConfig

WAYS = {
    "causal": "causal",
    "prefix": "prefix",
    "unilm1": "unilm1(rate=0.7)",
    "unilm2": "unilm2(rate=0.7, pairs=target)",
    "mass": "mass(pairs=target)",
    "bang": "bang(streams=1, together=1)",
    "diffusion": "diffusion",
    "seq2seq": "seq2seq",
}
"""{what `objective` may be: the objective with its arguments}; UniLM hides 0.7 of a target (Dong et al. 2019, section
3.1; s2s-ft), BANG writes all of it in one pass (Qi et al. 2021, section 3.3)."""
HIDES = {"unilm1", "unilm2", "bang", "diffusion"}
"""Those that show [MASK] where a token is predicted."""
SHORTEST_SOURCE = 4  # tokens
OF_DECODERS = ("decoder_layers", "encoder_rate")
"""Settings of encoder-decoders alone."""

Draw = Callable[[Sequence[Sample], int, int, float], list[Sample]]
"""(the samples of an example, epoch, its number, progress) -> those that the epoch trains on."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a model is taught to write.

    name        one of WAYS
    expression  of the objective
    why         it was taken, in words
    """

    name: str
    expression: str
    why: str


@dataclass(frozen=True, slots=True)
class Writer:
    """A model that is to be taught to write, on the CPU.

    trained  what it can do then
    head     of the task, with the lengths
    """

    model: Model
    tokenizer: Tokenizer
    way: Way
    objective: Objective
    trained: Abilities
    head: TaskHead
    length: int

    def drawn(self, seed: int) -> Draw:
        """What an epoch trains on: a function of the seed, the epoch and the number of the example alone."""

        def of(parts: Sequence[Sample], epoch: int, number: int, progress: float) -> list[Sample]:
            assert self.head.writes is not None
            (sample,) = parts
            row = row_of(sample, self.tokenizer, self.head.writes, full=self.way.name == "diffusion")
            found = self.objective.sample(row, np.random.default_rng([seed, epoch, number]), progress)
            if self.objective.segments > self.model.config.segments:
                found = replace(found, layout=replace(found.layout, segment=None))
            return [found]

        return of


def row_of(sample: Sample, tokenizer: Tokenizer, writes: Writes, *, full: bool = False) -> Row:
    """The row of an example; a `full` one has a target of the greatest length, its end repeated, since what writes
    everywhere at once has to learn where nothing stands (LLaDA, Nie et al. 2025, section 2.3)."""
    tokens, part = sample.tokens, np.asarray(sample.layout.segment, dtype=np.int32)
    if full:
        missing = writes.target - int(part.sum())
        tokens = np.pad(tokens, (0, missing), constant_values=writes.end)
        part = np.pad(part, (0, missing), constant_values=1)
    return Row(tokens, np.zeros(len(tokens), dtype=np.int32), tokenizer.word_starts(tokens), part=part)


def writer_of(config: FinetuneConfig, task: WritingTask, head: TaskHead) -> Writer:
    """The model of a run whose task writes.

    Raises:
        ModelError: none there, or it cannot be taught the objective that is asked for.
        UsageError: an objective, a length or an option that there is not.
    """
    folder = folder_of(local(config.model))
    saved, tokenizer = read_saved(folder), Tokenizer.load(folder)
    way = way_for(config.objective, saved.trained)
    objective = build(way.expression, tokenizer.vocabulary)
    if way.name in HIDES and tokenizer.vocabulary.mask < 0:
        raise ModelError(
            f"{config.model} cannot be taught {way.name}: its tokenizer has no token for [MASK], which hides what is "
            "predicted. Take --objective causal or prefix"
        )
    shape = saved.model.config
    if config.dropout is not None:
        shape = shape.model_copy(update={"dropout": config.dropout})
    length = config.length or min(512, shape.length)
    own: Mapping[str, Tensor] = saved.model.state_dict()
    if objective.two_sided:
        shape, own = two_sided(shape, own, layers=config.decoder_layers)
    elif odd := next((one for one in OF_DECODERS if getattr(config, one) not in (None, 1.0)), None):
        raise UsageError(f"{odd} is for encoder-decoders, --objective seq2seq, and this is {way.name}")
    elif shape.decoder:
        raise ModelError(
            f"{config.model} is an encoder-decoder, which is taught to write by seq2seq, not by {way.name}"
        )
    writes = _writes(config, task, saved.trained, tokenizer, length=length, way=way)
    shape = with_word_head(shape)
    head = replace(head, writes=writes, reads="encoder" if writes.apart or has_face(shape, "body") else "decoder")
    if way.name == "causal" and not has_face(shape, "decoder"):
        raise ModelError(
            f"{config.model} cannot be taught causal: transformers has no class of its shape that reads from left to "
            "right. Take --objective prefix"
        )
    model = Model(shape, rule=objective.rule, seed=config.seed)
    new = model.state_dict()  # a head that predicts words may be
    model.load_state_dict(new | {name: weight for name, weight in own.items() if name in new})
    trained = taught(way, objective, head, shape)
    return Writer(model, tokenizer, way, objective, trained, trained.heads[WORDS], length)


def two_sided(
    shape: ModelConfig, weights: Mapping[str, Tensor], *, layers: int | None
) -> tuple[ModelConfig, Mapping[str, Tensor]]:
    """The shape and the weights of an encoder-decoder: those that are there, or what one begins with whose both sides
    are copies of a model of one stack, with new cross-attention.

    Raises:
        ModelError: blocks that no encoder-decoder has.
        UsageError: layers for a decoder that is there already.
    """
    if shape.decoder:
        if layers not in (None, shape.decoder.layers):
            raise UsageError(f"decoder_layers is {layers}, and the model has a decoder of {shape.decoder.layers}")
        return shape, weights
    wanted = with_decoder(shape, layers)
    encoder = begun(weights, shape, wanted)
    return wanted, {**encoder, **begun_decoder(encoder, shape, wanted)}


def has_face(shape: ModelConfig, face: str) -> bool:
    """Whether transformers has a class for it."""
    try:
        architecture(shape, face)
    except ModelError:
        return False
    return True


def _writes(
    config: FinetuneConfig, task: WritingTask, trained: Abilities, tokenizer: Tokenizer, *, length: int, way: Way
) -> Writes:
    """
    Raises:
        UsageError: no room for a source, or an option that there is not.
    """
    apart = way.name == "seq2seq"
    before, behind, end = _frame(trained, tokenizer, apart=apart)
    target = config.target_length or min(task.longest, length // 2)
    options = {**({"steps": 1, "remove_repeats": True} if _together(way) == 1 else {}), **config.generation}
    made = Writes(target, before, behind, end, options, apart)
    if apart and target > length:
        raise UsageError(f"target_length {target} is more than the {length} tokens that the model writes")
    usual_options(made)  # refuses an option that there is not
    if made.room(length) < SHORTEST_SOURCE:
        raise UsageError(
            f"target_length {target} leaves {made.room(length)} of the {length} tokens that the model reads for a "
            f"source: expected {SHORTEST_SOURCE} or more. Take a shorter target, or a model that reads more"
        )
    return made


def _together(way: Way) -> float:
    """In which share of the rows BANG is taught to write a target in one pass."""
    given = parse(way.expression)[0].terms[0].arguments.get("together", 0.0)
    return given if isinstance(given, float | int) else 0.0


def _frame(trained: Abilities, tokenizer: Tokenizer, *, apart: bool) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """What stands before and behind a source, and what ends a target: [CLS], [SEP] and [SEP] where Bothways
    pretrained; else what the tokenizer puts there, and the token that ends a text where it puts none.

    Raises:
        ModelError: no token ends a text.
    """
    vocabulary = tokenizer.vocabulary
    if writer := trained.writer:
        assert writer.writes is not None
        return writer.writes.before, writer.writes.behind, writer.writes.end
    if trained.objective:
        return (vocabulary.cls,), (vocabulary.sep,), vocabulary.sep
    if not vocabulary.ends:
        raise ModelError("this model's files name no token that ends a text, so that it cannot be taught to write one")
    end = vocabulary.sep if vocabulary.sep in vocabulary.ends else min(vocabulary.ends)
    if apart:
        return *tokenizer.frame.one, end
    before, between, _ = tokenizer.frame.two
    return before, between if end in between else (end,), end


def way_for(asked: str | None, trained: Abilities) -> Way:
    """The objective that is asked for, or that which fits how the model was pretrained.

    Raises:
        UsageError: one that does not write.
    """
    if asked is None:
        name, why = fitting(trained)
        return Way(name, WAYS[name], why)
    (phase, *later) = parse(asked)
    (term, *others) = phase.terms
    if later or others:
        raise UsageError(f"objective: expected one of {', '.join(WAYS)}, got several: {asked}. Take one")
    if term.name not in WAYS:
        raise unknown("objective that writes", term.name, WAYS)
    return Way(term.name, asked.strip() if term.arguments else WAYS[term.name], "asked for")


def fitting(trained: Abilities) -> tuple[str, str]:
    """The objective nearest to what a model was pretrained with, and why."""
    told = f"pretrained with {trained.objective}, the model" if trained.objective else "the published model"
    if trained.writer and (name := trained.objective.partition("(")[0]) in WAYS:
        return name, f"the model was taught to write with {trained.objective}"
    for ability, name, why in _FITTING:
        if ability in (*trained.decoding, *trained.faces):
            return name, f"{told} {why}"
    if trained.hidden:
        return "unilm1", f"{told} predicts hidden words in their place"
    if trained.reads in ("left to right", "right to left", "both directions"):
        return "causal", f"{told} reads {trained.reads}"
    return "prefix", f"{told} predicts no words"


_FITTING = (
    ("seq2seq", "seq2seq", "has an encoder and a decoder"),
    ("streams", "bang", "predicts several words in a pass"),
    ("fragment", "mass", "writes what is missing after what stands around it"),
    ("append-mask", "unilm1", "predicts a hidden word of a target after its source"),
    ("pseudo-mask", "unilm2", "predicts at pseudo masks"),
    ("prefix", "prefix", "predicts the next word after a source read from all sides"),
    ("blocks", "diffusion", "predicts any number of hidden words"),
    ("any-order", "diffusion", "predicts words in any order"),
    ("decoder", "causal", "predicts the next word"),
)
"""(an ability of the model, the objective for it, why), the first that is there."""


def taught(way: Way, objective: Objective, head: TaskHead, shape: ModelConfig) -> Abilities:
    """What the model can do when it has been taught."""
    assert head.writes is not None
    teaches = objective.about.teaches
    decoding: dict[str, int] = dict(teaches.decoding)
    if way.name == "unilm1" and objective.segments > shape.segments:
        decoding = {"pseudo-mask": 0}  # the same without segments
    if way.name == "bang":
        decoding = {"streams": head.writes.target if _together(way) else teaches.decoding["streams"]}
    causal = way.name == "causal"
    return Abilities(
        objective=objective.name if "(" not in way.expression else way.expression,
        faces=("decoder",) if causal else (),
        hidden=None,
        decoding=decoding,
        reads=None if causal else teaches.reads or "all sides",
        heads={WORDS: head},
        rule=objective.rule.name,
    )
