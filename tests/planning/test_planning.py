"""The planner: published figures come out, shapes are counted as models are, and what cannot be is refused."""

from __future__ import annotations

import math

import pytest
import torch

import bothways
from bothways.errors import UsageError
from bothways.model import Model, ModelConfig, preset
from bothways.planning import Advice, Device, Experts, Fleet, Scale, best_parameters, best_tokens, costs, device
from bothways.planning.advice import choices, expected_loss, speed_by_width
from bothways.planning.here import pace, training_for, work_of
from bothways.planning.published import YEAR, claims

TINY = preset("tiny", vocabulary=500, length=32)


def test_every_published_figure_is_what_is_written_beside_it() -> None:
    assert [claim for claim in claims() if not claim.holds] == []
    assert {claim.of for claim in claims() if not claim.agrees} >= {"LaMDA", "PaLM 540B", "OPT-175B", "WuDao 2.0"}


def test_the_door_to_a_plan_and_to_advice() -> None:
    pytest.importorskip("pandas")
    found = bothways.plan(size="24x2048", tokens="300B", hardware="8xa100@40%")
    assert repr(found).startswith("Plan(1.2") and "300B tokens" in repr(found) and "days" in repr(found)
    assert found == bothways.plan(bothways.PlanConfig(size="24x2048", tokens="300B", hardware="8xa100@40%"))
    advice = bothways.plan(time="30d", hardware="h100")
    assert repr(advice).startswith("Advice(") and advice.to_pandas().empty and advice.flops is not None
    several = Advice(tuple(choices(3600.0, lambda shape: 1e5, vocabulary=8192, length=128)))
    assert repr(several).endswith("... of 24 sizes)") and {*several.to_pandas()} == {
        "size",
        "parameters",
        "tokens",
        "loss",
    }
    with pytest.raises(UsageError, match="give --size or --parameters"):
        bothways.plan()
    with pytest.raises(UsageError, match="argument of plan 'siez'. Did you mean 'size'"):
        bothways.plan(siez="tiny")


def test_gpt3_by_hand() -> None:
    """3.14e23 FLOPs at 28 TFLOPS: 355.6 V100-years, 4.61 million dollars at 1.48 an hour."""
    one = Fleet(Device("v100", 28e12, 32e9), utilisation=1.0, price=1.48)
    found = costs(Scale.of_count(174.6e9), 300e9, one)
    assert found.flops == pytest.approx(3.14e23, rel=2e-3)
    assert one.hours(3.14e23) / YEAR == pytest.approx(355.6, abs=0.1)
    assert one.money(3.14e23) == pytest.approx(4.61e6, rel=1e-3)
    assert found.replicated is None and found.fits == ()


def test_recomputation_does_a_third_more() -> None:
    fleet = Fleet(device("a100"), 992)
    plain, again = (costs(Scale.of_count(175e9), 300e9, fleet, recompute=recompute) for recompute in (False, True))
    assert again.flops == plain.flops and again.done == pytest.approx(4 / 3 * plain.done)
    assert again.seconds == pytest.approx(4 / 3 * plain.seconds)
    assert again.done == pytest.approx(4.2e23)


@pytest.mark.parametrize("size", ["tiny", "mini", "6x192", "6-6x192", "2-1x64", "96x12288"])
def test_weights_are_those_of_the_model(size: str) -> None:
    shape = preset(size, vocabulary=8192)
    with torch.device("meta"):
        model = Model(shape) if shape.width < 1000 else None
    expected = 96 * 12 * 12288**2 if model is None else model.parameter_count()
    assert Scale.of_shape(shape).parameters == pytest.approx(expected, rel=1e-3 if model is None else 0)


def test_weights_of_a_classic_shape_but_for_biases() -> None:
    shape = ModelConfig(vocabulary=30522, layers=12, width=768, heads=12, inner=3072, shape="classic")
    assert Scale.of_shape(shape).parameters == pytest.approx(110e6, rel=0.02)


def test_experts_add_weights_and_only_the_active_ones_add_work() -> None:
    shape = preset("mini", vocabulary=1000)
    feed_forward = 3 * shape.width * shape.inner
    plain, mixed = Scale.of_shape(shape), Scale.of_shape(shape, Experts(8, 2, every=3))
    routers = 4 * shape.width * 8
    assert mixed.parameters - plain.parameters == 4 * 7 * feed_forward + routers
    assert mixed.active - plain.active == 4 * feed_forward + routers
    assert Scale.of_shape(shape, Experts(1)).active - plain.active == 12 * shape.width


def test_memory_of_a_device() -> None:
    scale = Scale.of_shape(TINY)
    assert scale.state() == 16 * scale.parameters
    assert scale.state(8, sharded=True) == 2 * scale.parameters + 2 * scale.parameters / TINY.layers
    four = TINY.model_copy(update={"inner": 4 * TINY.width})
    classic = ModelConfig(vocabulary=500, layers=2, width=64, heads=2, inner=256, shape="classic")
    assert Scale.of_shape(classic).activations(10) == 10 * 2 * 34 * 64
    assert Scale.of_shape(four).activations(10) == 10 * TINY.layers * (18 + 32) * TINY.width  # two matrices at the top
    mixed = Scale.of_shape(four, Experts(8, 3, every=2)).activations(10)
    assert mixed == 10 * TINY.layers * (18 + 32 * (1 + 2 * (TINY.layers // 2) / TINY.layers)) * TINY.width
    found = costs(scale, 1e6, Fleet(device("t4"), 4))
    assert found.replicated is not None and found.sharded is not None and found.recomputed is not None
    assert found.replicated > found.sharded > found.recomputed
    assert found.fits == ("replicated", "sharded", "recomputed")
    assert costs(scale, 1e6, Fleet(Device("small", 1e12, found.sharded), 4)).fits == ("sharded", "recomputed")


def test_chinchilla_both_ways() -> None:
    assert best_tokens(70e9) == 1.4e12
    weights = best_parameters(5.88e23)
    assert weights == pytest.approx(70e9, rel=1e-3)
    assert Scale.of_count(weights).rule(best_tokens(weights)) == pytest.approx(5.88e23)


def test_work_is_what_the_objective_counts() -> None:
    causal = work_of(TINY, "causal", length=32)
    assert causal == pytest.approx(TINY.flops_per_token(length=32, predicted=1.0), rel=0.05)
    masked = TINY.flops_per_token(length=32, predicted=0.15)
    assert work_of(TINY, "mlm(rate=0.15)", length=32) == pytest.approx(masked, rel=0.02)


def test_a_decoder_counts_in_weights_work_and_memory() -> None:
    """Of what a row costs, the decoder's part is that of `ModelConfig.decoder_flops`, for all tokens of the row."""
    one, both = (preset(size, vocabulary=500, length=32) for size in ("2x64", "2-3x64"))
    found = bothways.plan(size="2-3x64", tokens="1M", vocabulary=500, length=32, objective="seq2seq", hardware="a100")
    writes = both.decoder_flops(read=32, written=32, predicted=32) / 32
    reads = both.flops_per_token(length=32, predicted=0.0)
    assert writes / 2 < found.flops / 1e6 - reads / 2 and found.flops / 1e6 < writes + reads
    for recompute in (False, True):
        less, more = (Scale.of_shape(shape).activations(10, recompute=recompute) for shape in (one, both))
        assert less is not None and more is not None and more > less
    kept = 18 * 64 + 8 * both.inner
    assert Scale.of_shape(both).activations(10) == 10 * (2 * kept + 3 * (kept + 13 * 64))
    with pytest.raises(UsageError, match="hybrid does not train a decoder .* 12x256, or --objective seq2seq"):
        bothways.plan(size="2-3x64", tokens="1M", hardware="a100")
    with pytest.raises(UsageError, match="seq2seq needs a decoder beside the encoder: give a --size as 6-6x256"):
        bothways.plan(size="2x64", tokens="1M", objective="seq2seq", hardware="a100")
    with pytest.raises(UsageError, match="seq2seq needs a decoder"):
        bothways.plan(time="1h", objective="seq2seq")


def test_this_machine_is_measured_on_the_very_steps() -> None:
    found = pace(TINY, training_for(TINY, size="tiny", length=32), objective="mlm", seconds=0.1)
    assert found.step_tokens == 2048 and found.tokens_a_second > 0
    assert found.utilisation > 0


def test_rows_that_are_longer_than_a_step_are_one() -> None:
    assert training_for(TINY, size="tiny", length=4096).places == 4096


def test_the_speed_of_a_schedule_is_that_of_the_phase_that_was_timed() -> None:
    """The generator alone, a quarter as wide, is a small share of the work of the whole."""
    expression = "1/2 electra(predict=nothing) -> 1/2 electra"
    training = training_for(TINY, size="tiny", length=32)
    small = work_of(TINY, "electra(predict=nothing)", length=32)
    assert pace(TINY, training, objective=expression, seconds=0.1).flops == pytest.approx(small)
    assert work_of(TINY, expression, length=32) > 1.2 * small


def test_more_time_asks_for_a_larger_model_and_little_text_for_less_reading() -> None:
    speed = speed_by_width({128: 5e10, 256: 6e10}, lambda shape: 6 * Scale.of_shape(shape).parameters)
    minute, week = (choices(seconds, speed, vocabulary=8192, length=128)[0] for seconds in (60, 7 * 86400))
    assert minute.size == "tiny" and week.parameters > 5 * minute.parameters
    assert minute.tokens == pytest.approx(60 * 5e10 / (6 * minute.parameters))
    assert expected_loss(1e6, 1e9, unique=1e6) > expected_loss(1e6, 1e9, unique=1e8) > expected_loss(1e6, 1e9)
    assert expected_loss(1e6, 1e6, unique=1e6) == expected_loss(1e6, 1e6)


def test_what_cannot_be_is_refused() -> None:
    for wrong in (
        lambda: Fleet(device("a100"), 0),
        lambda: Fleet(device("a100"), utilisation=1.1),
        lambda: Fleet(device("a100"), utilisation=0.0),
        lambda: Fleet(device("a100"), price=-1.0),
        lambda: Fleet(device("a100"), overhead=0.9),
        lambda: Fleet(Device("none", 0.0, 1e9)),
        lambda: device("abacus"),
        lambda: Experts(4, 8),
        lambda: Scale.of_count(-1.0),
        lambda: costs(Scale.of_count(1e9), math.nan, Fleet(device("a100"))),
        lambda: preset("6x100", vocabulary=10),
        lambda: preset("6x", vocabulary=10),
    ):
        with pytest.raises(UsageError):
            wrong()
