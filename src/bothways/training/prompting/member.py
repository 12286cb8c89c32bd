"""One member of a PET ensemble: a model that fills in words, trained by one pattern (Schick & Schuetze 2021,
"Exploiting cloze questions", section 3.2).

Letters: E examples, U unlabelled texts, C labels, B examples of a step, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bothways.batch import Batch, Losses, Row, Target
from bothways.errors import DivergedError, ModelError
from bothways.inference.engine import Engine
from bothways.inference.loading import folder_of
from bothways.inference.prompting import LabelScores, Prompt, ask, clozes_of, collated
from bothways.model import Model, local, read_saved
from bothways.model.losses import with_extra
from bothways.objectives.masked import mlm
from bothways.tasks.pattern import Slots
from bothways.text import Tokenizer
from bothways.training.finetuning.config import rate_for, training_for
from bothways.training.finetuning.layer_decay import state_for
from bothways.training.finetuning.run import diverged
from bothways.training.finetuning.writing import load_those
from bothways.training.loop import LoopInputs, loss_names, train
from bothways.training.prompting.config import PetConfig

Texts = tuple[str, ...]
CLOZE, WORDS = "labels", "words"
"""What its two losses are called."""


@dataclass(frozen=True, slots=True)
class MemberData:
    """What a member is taught.

    examples    texts and label
    unlabelled  texts of which hidden words are predicted
    seed        of the order, dropout and what is hidden
    """

    examples: Sequence[tuple[Texts, str]]
    unlabelled: Sequence[Texts]
    seed: int


def open_filler(config: PetConfig, device: torch.device) -> Engine:
    """The model that members begin from, with weights that can be trained.

    Raises:
        ModelError: it was not taught to fill in hidden words, or there is none.
        UsageError: a length that it does not read.
    """
    folder = folder_of(local(config.model))
    saved, tokenizer = read_saved(folder), Tokenizer.load(folder)
    shape = saved.model.config
    if config.dropout is not None:
        shape = shape.model_copy(update={"dropout": config.dropout})
    model = Model(shape, rule=saved.model.rule)
    load_those(model, saved.model.state_dict())
    tokenizer.length = min(config.length or shape.length, tokenizer.length or shape.length, shape.length)
    engine = Engine(model.to(device), tokenizer, saved.trained)
    try:
        engine.needs("hidden")
    except ModelError as error:
        raise ModelError(f"{config.model}: PET trains a model to fill in the word of a label: {error}") from None
    return engine


def train_member(config: PetConfig, engine: Engine, prompt: Prompt, data: MemberData) -> None:
    """Trains the engine's model in place.

    The loss of a step is alpha * cross-entropy over the labels' words + (1 - alpha) * cross-entropy of hidden words of
    unlabelled texts in the same pattern, both means.

    Raises:
        DivergedError: the loss was not finite in several steps in a row.
    """
    config = config.model_copy(update={"adapter": None})  # an adapter, and its rate, are the classifier's
    model, slots = engine.model, Slots.of(prompt.pattern, prompt.verbaliser, engine.tokenizer)
    state, _ = state_for(config, model, device=engine.device)
    training = training_for(config, model.config.width, steps=config.steps, seed=data.seed)
    made = _Batches(config, engine, prompt, slots, data)
    names = loss_names(model, (CLOZE, WORDS))
    work = LoopInputs(lambda batch, generator: _losses(config, model, slots, batch), made.of_step, names)
    model.train()
    try:
        for _ in train(work, state=state, config=training, total=config.steps):
            pass
    except DivergedError:
        raise diverged(state.step, rate_for(config, model.config.width)) from None
    model.eval()


def _losses(config: PetConfig, model: Model, slots: Slots, batch: Batch) -> Losses:
    """Each a mean times its share of the loss, and the share: so that their sum is the loss."""
    (target,) = batch.targets
    extra: dict[str, Tensor] = {}
    (hidden,) = model.hidden_at(batch, extra)
    if target.name == CLOZE:
        scores = slots.scores(model.logits(hidden).float().log_softmax(-1))
        mean, share = F.cross_entropy(scores, torch.as_tensor(target.labels)), config.alpha
    else:
        loss, weight = model.head("words").loss_at(hidden, target)
        mean, share = loss / weight, 1 - config.alpha
    return with_extra({target.name: (mean * share, torch.tensor(share, device=hidden.device))}, extra)


@dataclass(frozen=True, slots=True)
class _Batches:
    """The batches of a step: one of labelled examples, and one of hidden words, where these count."""

    config: PetConfig
    engine: Engine
    prompt: Prompt
    slots: Slots
    data: MemberData

    def of_step(self, step: int, progress: float) -> list[Batch]:
        """A function of the seed and the step."""
        del progress
        examples, texts, batch = self.data.examples, self.data.unlabelled, self.config.batch
        made = [self._labelled([examples[i] for i in shuffled_batch(len(examples), batch, step, self.data.seed)])]
        if self.config.alpha < 1 and texts:
            rng = np.random.default_rng([self.data.seed, step, 1])
            made += self._hidden([texts[i] for i in shuffled_batch(len(texts), batch, step, self.data.seed)], rng)
        return made

    def _labelled(self, some: Sequence[tuple[Texts, str]]) -> Batch:
        engine, slots = self.engine, self.slots
        clozes = clozes_of(engine, self.prompt.pattern, [texts for texts, _ in some], slots.lengths, LabelScores(()))
        tokens, layout, at = collated(engine, clozes)
        labels = torch.tensor([slots.labels.index(label) for _, label in some], device=engine.device)
        return Batch(tokens, layout, (Target("words", at, labels, self.config.alpha, CLOZE),))

    def _hidden(self, texts: Sequence[Texts], rng: np.random.Generator) -> Iterator[Batch]:
        """Fifteen of a hundred tokens hidden, as BERT hides them; the masks of the pattern stay as they are."""
        engine = self.engine
        clozes = clozes_of(engine, self.prompt.pattern, texts, self.slots.lengths[:1], LabelScores(()))
        objective, before = mlm(engine.tokenizer.vocabulary), int(engine.abilities.hidden == "before")
        rows = [one.rows[0].astype(np.int32) for one in clozes]
        samples = [
            objective.sample(Row(row, np.zeros_like(row), engine.tokenizer.word_starts(row)), rng, 0.0) for row in rows
        ]
        batch = Batch.stack(samples).to(engine.device)
        if not batch.targets or not len(batch.targets[0].at):  # nothing but specials
            return
        (target,) = batch.targets
        share = 1 - self.config.alpha
        weight = torch.as_tensor(target.weight) / torch.as_tensor(target.weight).sum() * share
        at = torch.as_tensor(target.at) - before
        yield replace(batch, targets=(replace(target, at=at, weight=weight.float(), name=WORDS),))


def shuffled_batch(count: int, batch: int, step: int, seed: int) -> list[int]:
    """The numbers of a step's examples of `count`: all of them in an order of its own, again and again."""
    places = range(step * batch, (step + 1) * batch)
    orders = {
        number: np.random.default_rng([seed, number]).permutation(count) for number in {at // count for at in places}
    }
    return [int(orders[at // count][at % count]) for at in places]


def asked_of(engine: Engine, prompt: Prompt, texts: Sequence[Texts]) -> np.ndarray:
    """float32 [texts, C]: a member's scores."""
    return ask(engine, prompt, texts).scores.astype(np.float32).reshape(len(texts), len(prompt.verbaliser))
