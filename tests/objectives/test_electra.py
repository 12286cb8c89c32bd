"""ELECTRA and DeBERTa-v3: what is judged, whose gradient goes where, what is saved."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bothways.batch import Batch, Row, Target
from bothways.errors import UsageError
from bothways.model import Model, ModelConfig, architecture, read_saved, save_faces
from bothways.model.generator import generator_shape
from bothways.model.heads.binary import copied_or_predicted
from bothways.model.kernels import draw, linear_cross_entropy_and_draw
from bothways.model.losses import plain_loss
from bothways.model.passing import Pass
from bothways.objectives import Objective, build, describe
from bothways.objectives.corruptions import Linear
from bothways.objectives.electra import DIFFERENCE, GENERATOR, GeneratorOptions, electra
from bothways.objectives.mixture import _same
from bothways.training.config import OptimiserConfig, ScheduleConfig, TrainingConfig
from bothways.training.loop import LoopInputs, train
from bothways.training.optimiser import build_optimisers
from bothways.training.state import State
from bothways.training.weights import Replicated, by_kind
from bothways.visibility import ordered
from tests.model.small import CLASSIC, MODERN, PROJECTED, UNPROJECTED
from tests.objectives.rows import VOCABULARY, packed

CONFIG = ModelConfig(vocabulary=VOCABULARY.size, layers=2, width=64, heads=1, inner=112, length=32, init=0.1)
OLD = CLASSIC.model_copy(update={"vocabulary": VOCABULARY.size, "layers": 2})
ROW = packed([9, 4], padding=1)
VARIANTS = [
    *(f"electra(predict={what})" for what in ("all", "hidden", "words", "all-words", "masked")),
    *(f"electra(sharing={how})" for how in ("separate", "disentangled")),
    "deberta-v3",
]


def model_for(objective: Objective, config: ModelConfig = CONFIG) -> Model:
    return Model(config, seed=1, heads=objective.heads, parts=objective.parts)


def batch_of(objective: Objective, row: Row = ROW, *, seed: int = 0, rows: int = 4) -> Batch:
    return Batch.stack([objective.sample(row, np.random.default_rng((seed, i)), 0.0) for i in range(rows)])


def losses(objective: Objective, model: Model, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
    assert objective.loss is not None
    return objective.loss(model, batch, torch.Generator().manual_seed(3))


class Recorder(nn.Module):
    """Stands in for a head and keeps what it is asked."""

    def loss_at(self, hidden: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        self.labels = target.labels
        return hidden.sum() * 0, torch.as_tensor(target.weight).sum()


def test_a_token_is_replaced_where_it_differs_from_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = build("electra(rate=0.5)", VOCABULARY)
    model, read = model_for(objective), []
    model.heads["replaced"] = recorder = Recorder()
    look_up = model.backbone.embeddings.look_up
    monkeypatch.setattr(model.backbone.embeddings, "look_up", lambda p, layout: read.append(p) or look_up(p, layout))
    batch = batch_of(objective, rows=64)
    losses(objective, model, batch)
    masked, filled = (tokens.flatten() for tokens in read)
    asked, question = batch.targets
    assert torch.equal(masked, batch.tokens.flatten())
    assert torch.equal(recorder.labels, filled[question.at] != question.labels)
    hidden = torch.zeros(batch.tokens.numel(), dtype=torch.bool)
    hidden[asked.at] = True
    assert not recorder.labels[~hidden[question.at]].any()
    assert len(question.at) == int(batch.layout.real.sum())  # everywhere but in the padding
    assert not (filled == VOCABULARY.mask).all() and recorder.labels.any()


def test_a_right_guess_counts_as_original() -> None:
    """A generator that is sure of the answer replaces nothing."""
    objective = build("electra(rate=0.5)", VOCABULARY)
    model = model_for(objective)
    model.heads["replaced"] = recorder = Recorder()
    small: Any = model.parts[GENERATOR]
    small.words.loss_and_draw = lambda hidden, table, labels, *others: (hidden.sum() * 0, labels)
    losses(objective, model, batch_of(objective))
    assert not recorder.labels.any()


@pytest.mark.parametrize("expression", VARIANTS)
def test_no_gradient_goes_through_what_was_drawn(expression: str) -> None:
    objective = build(expression, VOCABULARY)
    model = model_for(objective)
    _, judged = (loss for loss, _ in losses(objective, model, batch_of(objective)).values())
    judged.backward()
    moved = {name for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert not any(name.startswith(f"parts.{GENERATOR}.") for name in moved)
    assert any(name.startswith("backbone.blocks.") for name in moved)


@pytest.mark.parametrize("config", [CONFIG, OLD], ids=["modern", "classic"])
def test_disentangled_embeddings_are_moved_by_the_generator_alone(config: ModelConfig) -> None:
    """DeBERTaV3, section 3.3: the model's loss reaches the difference, and no table of the generator's."""
    objective = build("deberta-v3", VOCABULARY)
    model = model_for(objective, config)
    table, difference = model.table, model.parts[DIFFERENCE].weight
    assert not difference.any()
    said, judged = (loss for loss, _ in losses(objective, model, batch_of(objective)).values())
    judged.backward(retain_graph=True)
    assert table.grad is None or not table.grad.any()
    assert difference.grad.any()
    difference.grad = None
    said.backward()
    assert table.grad.any() and difference.grad is None


def test_shared_embeddings_are_moved_by_both_and_separate_ones_by_their_own() -> None:
    for sharing, both in (("shared", True), ("separate", False)):
        objective = build(f"electra(sharing={sharing})", VOCABULARY)
        model = model_for(objective)
        said, judged = (loss for loss, _ in losses(objective, model, batch_of(objective)).values())
        said.backward(retain_graph=True)
        assert (model.table.grad is not None and bool(model.table.grad.any())) == both
        judged.backward()
        assert model.table.grad.any()


def test_fifty_to_one_between_means() -> None:
    """All targets count for a token each, times the weight: so the one mean of the step is L + 50 L."""
    objective = build("electra", VOCABULARY)
    rows = [objective.sample(ROW, np.random.default_rng(seed), 0.0) for seed in range(400)]
    asked, question = Batch.stack(rows).targets
    assert float(asked.weight.sum()) == pytest.approx(400 * 13, rel=0.02)  # tokens of text
    assert float(question.weight.sum()) == 50 * 400 * 17  # and their specials
    hidden = build("electra(predict=hidden, weight=7)", VOCABULARY)
    _, question = batch_of(hidden, rows=400).targets
    assert float(question.weight.sum()) == pytest.approx(7 * 400 * 13, rel=0.02)


def test_a_target_that_fills_up_is_drawn_like_the_one_it_repeats() -> None:
    from bothways.training.pretraining.batches import _of_few_lengths

    objective = build("electra(rate=0.5)", VOCABULARY)
    model, batch = model_for(objective), batch_of(objective)
    longer = _of_few_lengths(batch)
    assert len(longer.targets[0].at) > len(batch.targets[0].at)
    for (name, (loss, count)), (_, (same, same_count)) in zip(
        losses(objective, model, batch).items(), losses(objective, model, longer).items(), strict=True
    ):
        assert torch.allclose(loss, same, rtol=1e-5) and count == same_count, name


def test_all_tokens_mlm_mixes_copying_and_saying() -> None:
    """Clark et al. 2020, section 3.4: D 1[the token that is read] + (1 - D) softmax."""
    objective = build("electra(predict=all-words)", VOCABULARY)
    model = model_for(objective)
    gate: Any = model.heads["copied"]
    hidden, reads = torch.randn(6, 64), torch.tensor([9, 9, 9, 8, 8, 8])
    labels, weights = torch.tensor([9, 8, 9, 8, 9, 8]), torch.arange(1.0, 7.0)
    share = model.logits(hidden).softmax(-1)
    copy = torch.sigmoid(hidden @ gate.logit.weight[0])
    chance = copy * (reads == labels) + (1 - copy) * share[torch.arange(6), labels]
    found = copied_or_predicted(
        gate.logit(hidden)[:, 0], model.logits(hidden), reads=reads, labels=labels, weight=weights
    )
    assert torch.allclose(found, -(chance.log() * weights).sum(), rtol=1e-5)


def test_a_model_that_predicts_masked_words_learns_as_mlm_does() -> None:
    """It reads the text before the generator fills it; so does the generator, whose loss is that of electra."""
    beside, judging = (build(what, VOCABULARY) for what in ("electra(predict=masked)", "electra"))
    model, batch = model_for(judging), batch_of(beside)
    found = losses(beside, model, batch)
    assert found.keys() == {"generator", "mlm"} == set(beside.names)
    own = replace(batch, targets=tuple(target for target in batch.targets if target.name == "mlm"))
    (alone,) = plain_loss(model, own).values()
    assert torch.allclose(found["mlm"][0], alone[0]) and found["mlm"][1] == alone[1]
    assert torch.equal(found["generator"][0], losses(judging, model, batch_of(judging))["generator"][0])


def test_rows_that_are_masked_stay_so_beside_rows_that_are_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mixture of both reads each batch once, and its two networks are those of electra."""
    objective = build("1/2 electra(predict=masked, rate=0.5) + 1/2 electra(rate=0.5)", VOCABULARY)
    model, read = model_for(objective), []
    look_up = model.backbone.embeddings.look_up
    monkeypatch.setattr(model.backbone.embeddings, "look_up", lambda p, layout: read.append(p) or look_up(p, layout))
    batch = batch_of(objective, rows=32)
    found = losses(objective, model, batch)
    assert found.keys() == {"generator", "mlm", "discriminator"} == objective.shares.keys()
    shown, filled = (tokens.flatten() for tokens in read)
    at = {target.name: torch.as_tensor(target.at) for target in batch.targets}
    others = torch.isin(at["generator"], at["mlm"], invert=True)
    assert torch.equal(filled[at["mlm"]], shown[at["mlm"]])
    assert 0 < len(at["mlm"]) < len(at["generator"])
    assert not (filled[at["generator"][others]] == VOCABULARY.mask).all()
    assert torch.isin(at["generator"][others], at["discriminator"]).all()


def test_a_generator_alone_leaves_the_model_out() -> None:
    objective = build("electra(predict=nothing)", VOCABULARY)
    model = model_for(build("electra", VOCABULARY))
    ((name, (loss, _)),) = losses(objective, model, batch_of(objective)).items()
    loss.backward()
    reached = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert name == GENERATOR and objective.names == (GENERATOR,)
    assert not objective.abilities.faces  # a run of it alone leaves a body that was taught nothing
    assert reached == {n for n, _ in model.named_parameters() if n.startswith(("parts.", "backbone.embeddings."))}


def test_the_temperature_of_the_draws() -> None:
    """Near zero the likeliest token is drawn, far above one any, and at one by the shares, whatever their sum."""
    random = torch.Generator().manual_seed(0)
    share = torch.rand(64, 10, generator=random).softmax(-1) * 3
    uniforms = torch.rand(64, generator=random)
    assert torch.equal(draw(share, uniforms, 1e-4), share.argmax(-1))
    assert torch.equal(draw(share, uniforms, 1e6), (uniforms * 10).long())
    assert torch.equal(draw(share, uniforms, 1.0), draw(share, uniforms))
    halved = (share**2).cumsum(-1)
    expected = torch.searchsorted(halved, uniforms[:, None] * halved[:, -1:], right=True)[:, 0]
    assert torch.equal(draw(share, uniforms, 0.5), expected)


def test_a_temperature_that_falls_is_that_of_the_progress_in_its_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    words = "bothways.model.heads.words.linear_cross_entropy_and_draw"
    monkeypatch.setattr(words, lambda *given: asked.append(given[-1]) or linear_cross_entropy_and_draw(*given))
    objective = build("1/2 mlm -> 1/2 electra(temperature=3->1)", VOCABULARY)
    model = model_for(objective)
    for progress in (0.25, 0.5, 0.75, 1.0):
        sample = objective.sample(ROW, np.random.default_rng(0), progress)
        losses(objective, model, replace(Batch.stack([sample]), progress=progress))
    assert asked == [3.0, 2.0, 1.0]


def test_options_of_the_generator_are_arguments_like_others() -> None:
    by_hand = electra(VOCABULARY, beside=GeneratorOptions(generator=0.5, pace=0.25, temperature=Linear(2, 1)))
    written = build("electra(generator=0.5, pace=0.25, temperature=2->1)", VOCABULARY)
    assert written.rates == by_hand.rates == {GENERATOR: 0.25}
    assert _same(written.loss, by_hand.loss) and _same(written.parts[GENERATOR], by_hand.parts[GENERATOR])
    (record,) = (one for one in describe() if one["name"] == "electra")
    assert list(record["arguments"]) == [
        *("rate", "weight", "predict", "generator", "layers", "sharing", "pace", "temperature"),
    ]


@pytest.mark.parametrize("expression", VARIANTS)
def test_every_variant_learns(expression: str) -> None:
    """Thirteen tokens that always come in one order: both networks find out."""
    objective = build(expression, VOCABULARY)
    model = model_for(objective)
    settings = {"budget": {"steps": 80}, "length": len(ROW), "step_tokens": 16 * len(ROW), "micro_tokens": 999}
    schedule = ScheduleConfig(warmup_steps=5)
    optimiser = OptimiserConfig(name="adamw", learning_rate=3e-3)
    config = TrainingConfig.model_validate({**settings, "schedule": schedule, "optimiser": optimiser})
    weights = Replicated(model, torch.float32)
    work = LoopInputs(
        losses=partial(objective.loss, model),
        batches=lambda step, progress: [batch_of(objective, seed=step, rows=16)],
        names=tuple(sorted(objective.shares)),
    )
    state = State(weights, build_optimisers(optimiser, by_kind(weights, model)))
    reports = list(train(work, state=state, config=config, total=80))
    first, last = (np.mean([list(r.losses.values()) for r in some], axis=0) for some in (reports[:5], reports[-5:]))
    assert set(reports[0].losses) == set(objective.names)
    if "hidden" in expression:  # it gets harder: at first all that is hidden is replaced, in the end half of it
        first = np.array([np.log(2), first[1]])
    assert (last < 0.85 * first).all(), (first, last)  # the hardest, "hidden", ends at 0.6, the others below 0.25


def test_what_it_costs() -> None:
    objective = build("electra", VOCABULARY)
    sample = objective.sample(ROW, np.random.default_rng(0), 0.0)
    small = generator_shape(CONFIG, width=0.25, layers=1.0)
    tokens, said = len(ROW), len(sample.targets[0].at)
    assert small.width == 16
    one = 3 * 2 * (tokens + said) * 16 * 64 + 3 * 2 * said * 64 * CONFIG.vocabulary
    both = tokens * sum(shape.flops_per_token(length=tokens, predicted=0.0) for shape in (small, CONFIG))
    assert objective.cost(CONFIG, sample) == pytest.approx(one + both)


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("electra(generator=2)", "shares of the model's width and layers"),
        ("electra(layers=0)", "shares of the model's width and layers"),
        ("electra(sharing=share)", "unknown value of sharing 'share'. Did you mean 'shared'?"),
        ("electra(predict=word)", "Did you mean 'words'?"),
        ("electra(rate=2)", "rate is the share"),
        ("electra(pace=0)", "pace is the generator's learning rate over the model's, above 0, got 0"),
        ("electra(temperature=1->0)", "temperature is that of the generator's draws, above 0, got 1->0"),
        ("electra + mlm", 'train one after the other: "electra -> mlm"'),
        ("electra -> mlm", "let 'electra' be the last phase"),
        ("electra(generator=0.5) + electra", "different networks under the name 'generator'"),
        ("electra(generator=0.5) -> electra", "different networks under the name 'generator'"),
        ("electra(pace=0.5) -> electra", "different rates under the name 'generator'"),
        ("deberta-v3 -> electra(generator=1, layers=0.5)", "let 'deberta-v3' be the last phase"),
    ],
)
def test_errors(expression: str, told: str) -> None:
    with pytest.raises(UsageError, match=told.replace("?", r"\?")):
        build(expression, VOCABULARY)


def save(objective: Objective, model: Model, run: Path) -> None:
    assert objective.networks is not None
    for name, (weights, config) in objective.networks(model.state_dict(), model.config).items():
        folders = save_faces(
            run / f".{name}" if name else run,
            weights=weights,
            config=config,
            vocabulary=VOCABULARY,
            trained=(build("mlm", VOCABULARY) if name else objective).abilities,
            save_tokenizer=lambda folder, template: None,
            card=lambda face: face,
        )
        if name:
            folders[0].rename(run / name)


CLASSES = {
    "modern": "EuroBertForTokenClassification",
    "classic": "ElectraForPreTraining",
    "projected": "ElectraForPreTraining",
    "unprojected": "ElectraForPreTraining",
}
SHAPES = {"modern": MODERN, "classic": CLASSIC, "projected": PROJECTED, "unprojected": UNPROJECTED}


@pytest.mark.parametrize("expression", ["electra", "electra(sharing=separate)", "mlm -> deberta-v3"])
@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_both_networks_load_elsewhere_and_say_the_same(shape: str, expression: str, tmp_path: Path) -> None:
    """transformers' own classes, and ours: the discriminator's verdicts and the generator's words."""
    transformers = pytest.importorskip("transformers")
    config = SHAPES[shape].model_copy(update={"vocabulary": VOCABULARY.size})
    objective = build(expression, VOCABULARY)
    model = model_for(objective, config).eval()
    if DIFFERENCE in model.parts:
        model.parts[DIFFERENCE].weight.normal_(0.0, 0.2)
    save(objective, model, tmp_path)
    batch = batch_of(objective, packed([12]), rows=2)
    tokens, layout, mask = batch.tokens, batch.layout, ordered.dense(batch.layout)
    embeddings: Any = model.backbone.embeddings
    reads = embeddings.look_up(tokens, layout)
    if DIFFERENCE in model.parts:
        reads = reads + model.parts[DIFFERENCE](tokens)
    verdicts = model.heads["replaced"](
        model.backbone.encode(embeddings.widened(embeddings.normed(reads)), Pass(layout, mask))
    )
    small: Any = model.parts[GENERATOR]
    own = small.embeddings or embeddings
    every = torch.arange(tokens.numel())
    states = small(own.normed(own.look_up(tokens, layout)), Pass(layout, mask, at=every)).view(*tokens.shape, -1)
    words = small.words(small.said(states), own.tokens.weight)

    def theirs(name: str, folder: str) -> Tensor:
        loaded, report = getattr(transformers, name).from_pretrained(tmp_path / folder, output_loading_info=True)
        assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
        return loaded.eval()(input_ids=tokens).logits

    logits = theirs(CLASSES[shape], "encoder")
    logits = logits[..., 1] - logits[..., 0] if shape == "modern" else logits
    assert (logits - verdicts).abs().max() <= 2e-5 * verdicts.abs().max()
    said = theirs("AutoModelForMaskedLM", "generator")
    assert (said - words).abs().max() <= 2e-5 * words.abs().max()
    again = read_saved(tmp_path / "encoder")
    assert again.trained.decoding == {"detect": 0}
    assert architecture(again.model.config, "detector")[1] == CLASSES[shape]
    ours = again.model.heads["replaced"](again.model.eval().states(batch))
    assert (ours - verdicts).abs().max() <= 2e-5 * verdicts.abs().max()
    filler = read_saved(tmp_path / "generator").model.eval()
    assert (filler(batch) - words).abs().max() <= 2e-5 * words.abs().max()


@pytest.mark.parametrize("weight", [0, -1.0])
def test_a_weight_that_teaches_nothing_is_refused(weight: float) -> None:
    with pytest.raises(UsageError, match=r"expected a number above 0"):
        electra(VOCABULARY, weight=weight)


def test_a_body_with_an_untied_head_has_a_generator_all_the_same() -> None:
    objective = electra(VOCABULARY)
    model = model_for(objective, CONFIG.model_copy(update={"word_head": "untied"}))
    assert all(torch.isfinite(loss) for loss, _ in losses(objective, model, batch_of(objective)).values())
