"""How a model is taught to write: by which objective, what each epoch draws from an example, and what it can do then.

An example is a row of a source and a target, [CLS] source [SEP] target [SEP], and any objective that predicts the
target of a pair after its source reads samples from it, anew in each epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np
from torch import Tensor

from bothways.batch import Row, Sample
from bothways.errors import ModelError, UsageError, unknown
from bothways.inference.loading import folder_of
from bothways.inference.writing import usual_options
from bothways.model import Abilities, Model, ModelConfig, TaskHead, architecture, local, read_saved, with_word_head
from bothways.model.abilities import Writes
from bothways.model.encoder_decoder import init_decoder, init_encoder, with_decoder
from bothways.model.huggingface.folders import Saved
from bothways.objectives import Objective, build
from bothways.objectives.expression import parse
from bothways.tasks.text2text import WritingTask
from bothways.text import Tokenizer
from bothways.training.finetuning.adapting import tokenizer_for
from bothways.training.finetuning.config import LONGEST, FinetuneConfig, LearningSettings
from bothways.training.finetuning.framing import chat_frame, frame_of, framed_for

WRITING_OBJECTIVES = {
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
EXACT = ("causal", "prefix", "seq2seq")
"""Those that predict every token of a target after the ones before it, so that a target has a likelihood."""
SHORTEST_SOURCE = 4  # tokens
OF_DECODERS = ("decoder_layers", "encoder_rate")
"""Settings of encoder-decoders alone."""


@dataclass(frozen=True, slots=True)
class EpochSampler:
    """What an epoch trains on: a function of the seed, the epoch and the number of an example alone.

    full  a target is taught at its greatest length, see `row_of`
    name  of what is lost; empty: the objective's
    """

    objective: Objective
    tokenizer: Tokenizer
    writes: Writes
    full: bool
    segments: bool
    seed: int
    name: str = ""

    def __call__(self, parts: Sequence[Sample], epoch: int, number: int, progress: float) -> list[Sample]:
        """Of the samples of an example, those that an epoch trains on: of a conversation that is read from left to
        right one, else one for each of its answers."""
        rng, drawn = np.random.default_rng([self.seed, epoch, number]), []
        for sample in self._sources(parts):
            row = row_of(sample, self.tokenizer, self.writes, full=self.full)
            found = self.objective.sample(row, rng, progress)
            if not self.segments:
                found = replace(found, layout=replace(found.layout, segment=None))
            named = tuple(replace(target, name=self.name or target.name) for target in found.targets)
            drawn.append(replace(found, targets=named))
        return drawn

    def _sources(self, parts: Sequence[Sample]) -> list[Sample]:
        whole = not self.writes.chat or self.objective.name == "causal"
        return [*parts] if whole else [one for part in parts for one in turns_of(part, self.writes.target)]

    def weight(self, parts: Sequence[Sample]) -> float:
        """What the targets that are drawn of an example weigh on average: the tokens that are to be written."""
        some = self._sources(parts)
        return float(self.writes.target * len(some) if self.full else sum(len(one.targets[0].at) for one in some))


def turns_of(sample: Sample, longest: int) -> list[Sample]:
    """A conversation as one sample for each of its answers, whose source is all that was said before; of an answer at
    most so many tokens."""
    said, (target,) = np.asarray(sample.layout.segment) > 0, sample.targets
    begins = np.flatnonzero(said & ~np.append(False, said[:-1]))
    found = []
    for begin in begins.tolist():
        end = begin + int(np.argmin(np.append(said[begin : begin + longest], False)))
        mine = (np.asarray(target.at) >= begin - 1) & (np.asarray(target.at) < end - 1)
        layout = replace(sample.layout.map(itemgetter(slice(end))), segment=(np.arange(end) >= begin).astype(np.int32))
        own = replace(target, at=np.asarray(target.at)[mine], labels=np.asarray(target.labels)[mine])
        found.append(Sample(sample.tokens[:end], layout, (own,), sample.cut))
    return found


@dataclass(frozen=True, slots=True)
class ChosenObjective:
    """How a model is taught to write.

    name        one of WRITING_OBJECTIVES
    expression  of the objective
    why         it was taken, in words
    """

    name: str
    expression: str
    why: str


@dataclass(frozen=True, slots=True)
class WritingSetup:
    """How one task that writes is taught."""

    chosen: ChosenObjective
    objective: Objective
    writes: Writes

    def head(self, of: TaskHead, shape: ModelConfig, *, model: str) -> TaskHead:
        """The task's head, with how it writes; `model` is what a message calls it.

        Raises:
            ModelError: causally, where transformers has no class that reads so.
        """
        if self.chosen.name == "causal" and not has_face(shape, "decoder"):
            raise ModelError(
                f"{model} cannot be taught causal: transformers has no class of its shape that reads from left to "
                "right. Take --objective prefix"
            )
        whole = self.writes.apart or has_face(shape, "body")
        return replace(of, writes=self.writes, reads="encoder" if whole else "decoder")

    def drawn(self, tokenizer: Tokenizer, shape: ModelConfig, *, seed: int, name: str = "") -> EpochSampler:
        """What its epochs train on."""
        segments = self.objective.segments <= shape.segments
        return EpochSampler(
            self.objective, tokenizer, self.writes, self.chosen.name == "diffusion", segments, seed, name
        )


@dataclass(frozen=True, slots=True)
class Writer:
    """A model that is to be taught to write, on the CPU.

    trained  what it can do then
    head     of the task, with the lengths
    """

    model: Model
    tokenizer: Tokenizer
    setup: WritingSetup
    trained: Abilities
    head: TaskHead
    length: int

    def drawn(self, seed: int) -> EpochSampler:
        """What its epochs train on."""
        return self.setup.drawn(self.tokenizer, self.model.config, seed=seed)


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
    saved = read_saved(folder)
    tokenizer = framed_for(tokenizer_for(config, folder), saved.trained, task)
    length = config.length or min(LONGEST, saved.model.config.length)
    setup = writing_setup(config, task, saved.trained, tokenizer, length=length)
    shape, weights = begin_with(config, saved, setup)
    head = setup.head(head, shape, model=config.model)
    model = Model(shape, rule=setup.objective.rule, seed=config.seed)
    load_those(model, weights)
    return Writer(model, tokenizer, setup, taught(setup, head, shape), head, length)


def writing_setup(
    config: FinetuneConfig, task: WritingTask, trained: Abilities, tokenizer: Tokenizer, *, length: int
) -> WritingSetup:
    """How a model with these abilities is taught a task that writes.

    Raises:
        ModelError: it cannot be taught the objective that is asked for.
        UsageError: an objective, a length or an option that there is not.
    """
    chosen = chosen_objective(config.objective, trained)
    objective = build(chosen.expression, tokenizer.vocabulary)
    if chosen.name in HIDES and tokenizer.vocabulary.mask < 0:
        raise ModelError(
            f"{config.model} cannot be taught {chosen.name}: its tokenizer has no token for [MASK], which hides what "
            "is predicted. Take --objective causal or prefix"
        )
    return WritingSetup(chosen, objective, _writes(config, task, trained, tokenizer, length=length, chosen=chosen))


def begin_with(config: LearningSettings, saved: Saved, setup: WritingSetup) -> tuple[ModelConfig, Mapping[str, Tensor]]:
    """The shape of a model that is to be taught so, with a head that predicts words, and the weights that it begins
    with.

    Raises:
        ModelError: an encoder-decoder that is to write without its decoder, or blocks that no encoder-decoder has.
        UsageError: a setting of encoder-decoders alone.
    """
    shape = saved.model.config
    if config.dropout is not None:
        shape = shape.model_copy(update={"dropout": config.dropout})
    weights: Mapping[str, Tensor] = saved.model.state_dict()
    chosen = setup.chosen.name
    if setup.objective.encoder_decoder:
        shape, weights = as_encoder_decoder(shape, weights, layers=config.decoder_layers)
    elif odd := next((one for one in OF_DECODERS if getattr(config, one) not in (None, 1.0)), None):
        raise UsageError(f"{odd} is for encoder-decoders, --objective seq2seq, and this is {chosen}")
    elif shape.decoder:
        raise ModelError(f"{config.model} is an encoder-decoder, which is taught to write by seq2seq, not by {chosen}")
    return with_word_head(shape), weights


def load_those(model: Model, weights: Mapping[str, Tensor]) -> None:
    """Puts weights into a model, those that it has; a head that predicts words may be new."""
    new = model.state_dict()
    model.load_state_dict(new | {name: weight for name, weight in weights.items() if name in new})


def as_encoder_decoder(
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
    encoder = init_encoder(weights, shape, wanted)
    return wanted, {**encoder, **init_decoder(encoder, shape, wanted)}


def has_face(shape: ModelConfig, face: str) -> bool:
    """Whether transformers has a class for it."""
    try:
        architecture(shape, face)
    except ModelError:
        return False
    return True


def _writes(
    config: FinetuneConfig,
    task: WritingTask,
    trained: Abilities,
    tokenizer: Tokenizer,
    *,
    length: int,
    chosen: ChosenObjective,
) -> Writes:
    """
    Raises:
        UsageError: no room for a source, or an option that there is not.
    """
    apart = chosen.name == "seq2seq"
    before, behind, end = chat_frame(tokenizer) if task.chats else frame_of(trained, tokenizer, apart=apart)
    if task.chats and config.prefix:
        raise UsageError(f"prefix: {task.name} has none; what stands before every question is a message of the system")
    target = config.target_length or min(task.longest, length // 2)
    options = {**({"steps": 1, "remove_repeats": True} if _together(chosen) == 1 else {}), **config.generation}
    prefix = tuple(tokenizer.encode(config.prefix)) if config.prefix else ()
    made = Writes(target, before, behind, end, options, apart, prefix, chat=task.chats)
    if apart and target > length:
        raise UsageError(f"target_length {target} is more than the {length} tokens that the model writes")
    usual_options(made)  # refuses an option that there is not
    if made.room(length) < SHORTEST_SOURCE:
        raise UsageError(
            f"target_length {target} leaves {made.room(length)} of the {length} tokens that the model reads for a "
            f"source: expected {SHORTEST_SOURCE} or more. Take a shorter target, or a model that reads more"
        )
    return made


def _together(chosen: ChosenObjective) -> float:
    """In which share of the rows BANG is taught to write a target in one pass."""
    given = parse(chosen.expression)[0].terms[0].arguments.get("together", 0.0)
    return given if isinstance(given, float | int) else 0.0


def chosen_objective(asked: str | None, trained: Abilities) -> ChosenObjective:
    """The objective that is asked for, or that which fits how the model was pretrained.

    Raises:
        UsageError: one that does not write.
    """
    if asked is None:
        name, why = fitting(trained)
        return ChosenObjective(name, WRITING_OBJECTIVES[name], why)
    (phase, *later) = parse(asked)
    (term, *others) = phase.terms
    if later or others:
        raise UsageError(f"objective: expected one of {', '.join(WRITING_OBJECTIVES)}, got several: {asked}. Take one")
    if term.name not in WRITING_OBJECTIVES:
        raise unknown("objective that writes", term.name, WRITING_OBJECTIVES)
    return ChosenObjective(term.name, asked.strip() if term.arguments else WRITING_OBJECTIVES[term.name], "asked for")


def fitting(trained: Abilities) -> tuple[str, str]:
    """The objective nearest to what a model was pretrained with, and why."""
    told = f"pretrained with {trained.objective}, the model" if trained.objective else "the published model"
    for head in trained.writers.values():
        objective = trained.as_writer(head).objective
        if (name := objective.partition("(")[0]) in WRITING_OBJECTIVES:
            return name, f"the model was taught to write with {objective}"
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


def taught(setup: WritingSetup, head: TaskHead, shape: ModelConfig) -> Abilities:
    """What the model can do when it has been taught."""
    chosen, objective = setup.chosen, setup.objective
    teaches = objective.about.teaches
    decoding: dict[str, int] = dict(teaches.decoding)
    if chosen.name == "unilm1" and objective.segments > shape.segments:
        decoding = {"pseudo-mask": 0}  # the same without segments
    if chosen.name == "bang":
        decoding = {"streams": setup.writes.target if _together(chosen) else teaches.decoding["streams"]}
    causal = chosen.name == "causal"
    return Abilities(
        objective=objective.name if "(" not in chosen.expression else chosen.expression,
        faces=("decoder",) if causal else (),
        hidden=None,
        decoding=decoding,
        reads=None if causal else teaches.reads or "all sides",
        heads={head.name: head},
        rule=objective.rule.name,
    )
