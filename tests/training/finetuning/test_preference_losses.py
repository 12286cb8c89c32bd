"""The losses of preferences equal their formulas, and trl's where it is installed."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch import Tensor

from bothways.training.finetuning.preference_losses import advantages, divergence, dpo, grpo, kto, orpo

CLOSE = 1e-5
PAIRS, TOKENS = 5, 7


def drawn(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    """Log-likelihoods: numbers below 0."""
    return -torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * scale - 0.01


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_dpo_is_its_formula(smoothing: float) -> None:
    policy, reference = drawn(PAIRS, 2, seed=0, scale=50), drawn(PAIRS, 2, seed=1, scale=50)
    expected = []
    for (chosen, rejected), (chosen_before, rejected_before) in zip(policy.tolist(), reference.tolist(), strict=True):
        h = 0.1 * ((chosen - chosen_before) - (rejected - rejected_before))
        expected.append(-(1 - smoothing) * math.log(sigmoid(h)) - smoothing * math.log(sigmoid(-h)))
    assert dpo(policy, reference, beta=0.1, smoothing=smoothing).tolist() == pytest.approx(expected, rel=CLOSE)


def test_orpo_is_its_formula() -> None:
    means = torch.cat([drawn(PAIRS, 2, seed=2, scale=3), torch.tensor([[-1e-4, -30.0], [-0.7, -0.69]])])
    expected = []
    for chosen, rejected in means.double().tolist():
        odds = [math.exp(one) / (1 - math.exp(one)) for one in (chosen, rejected)]
        expected.append(-chosen - 0.3 * math.log(sigmoid(math.log(odds[0] / odds[1]))))
    assert orpo(means.double(), beta=0.3).tolist() == pytest.approx(expected, rel=CLOSE)
    assert orpo(torch.zeros(1, 2), beta=0.3).isfinite().all()  # a certain answer


def test_kto_is_its_formula() -> None:
    ratio, base = drawn(6, seed=3, scale=10) + 5, torch.tensor([0.0, 0.5, 2.0, 0.0, 0.5, 2.0])
    sign = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])
    expected = [
        1 - sigmoid(0.1 * (r - z)) if s > 0 else 1 - sigmoid(0.1 * (z - r))
        for r, s, z in zip(ratio.tolist(), sign.tolist(), base.tolist(), strict=True)
    ]
    assert kto(ratio, sign, base, beta=0.1).tolist() == pytest.approx(expected, rel=CLOSE)


def test_grpo_is_its_formula() -> None:
    policy, before, reference = (drawn(TOKENS, seed=seed, scale=1.5) for seed in (4, 5, 6))
    advantage = torch.tensor([1.0, 1.0, 1.0, -0.5, -0.5, -0.5, 0.0])
    expected = []
    for now, then, first, gain in zip(*(x.tolist() for x in (policy, before, reference, advantage)), strict=True):
        ratio = math.exp(now - then)
        kl = math.exp(first - now) - (first - now) - 1
        expected.append(-min(ratio * gain, min(max(ratio, 0.8), 1.2) * gain) + 0.04 * kl)
    found = grpo(policy, before, reference, advantage, clip=0.2, beta=0.04)
    assert found.tolist() == pytest.approx(expected, rel=CLOSE)


def test_a_ratio_beyond_the_clip_teaches_nothing() -> None:
    policy = torch.tensor([-1.0, -3.0, -1.0, -3.0], requires_grad=True)
    gain = torch.tensor([1.0, -1.0, -1.0, 1.0])
    loss = grpo(policy, torch.full((4,), -2.0), torch.zeros(4), gain, clip=0.2, beta=0.0)
    loss.sum().backward()
    assert policy.grad is not None and [bool(one) for one in policy.grad] == [False, False, True, True]


def test_advantages_are_within_the_group() -> None:
    rewards = torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]], dtype=torch.float64)
    assert advantages(rewards).tolist() == [pytest.approx([-1 / 1.0001, 0, 1 / 1.0001]), [0.0, 0.0, 0.0]]
    assert advantages(torch.tensor([[3.0]])).tolist() == [[0.0]]


def test_the_divergence_is_unbiased() -> None:
    """Over all tokens that a distribution may say, its mean is the divergence itself."""
    policy, reference = (torch.randn(9, generator=torch.Generator().manual_seed(i)).log_softmax(0) for i in (0, 1))
    exact = (policy.exp() * (policy - reference)).sum()
    found = divergence(policy, reference)
    assert float((policy.exp() * found).sum()) == pytest.approx(float(exact), rel=1e-4) and (found >= 0).all()


def trainer(**settings: Any) -> Any:
    """What a method of a trainer of trl's reads of the trainer; a metric is whatever it is."""
    made = MagicMock(**settings)
    for name in ("gather", "gather_for_metrics"):
        getattr(made.accelerator, name).side_effect = lambda value: value
    made.accelerator.reduce.side_effect = lambda value, reduction: value
    made.accelerator.device = torch.device("cpu")
    return made


def model_of(*each: Tensor) -> Any:
    """A model that gives log-likelihoods of tokens [B, T] one after the other, as those of trl do."""
    answers = iter(each)

    def call(**given: Any) -> SimpleNamespace:
        found = next(answers)
        zeros = torch.zeros_like(found)
        return SimpleNamespace(log_probs=found, entropy=zeros, mean_logits=zeros, is_top1=zeros > 0)

    return call


def read(lengths: list[int]) -> tuple[dict[str, Tensor], Tensor]:
    """What a trainer is given of answers of so many tokens behind prompts of two, and where the answers are [B, T]."""
    mask = (torch.arange(TOKENS) < torch.tensor(lengths)[:, None]).long()
    whole = torch.cat([torch.zeros(len(lengths), 2, dtype=torch.long), mask], 1)
    ids = torch.ones_like(whole)
    return {"input_ids": ids, "attention_mask": ids, "completion_mask": whole}, whole[:, 1:]


@pytest.mark.parametrize("normalised", [False, True])
def test_dpo_is_trls(normalised: bool) -> None:
    trl = pytest.importorskip("trl")
    lengths = [3, 7, 5, 6, 2, 4]  # three chosen, three rejected
    inputs, mask = read(lengths)
    policy, reference = (drawn(6, TOKENS + 1, seed=seed, scale=2) * mask for seed in (7, 8))
    kind = "sigmoid_norm" if normalised else "sigmoid"
    settings = {"loss_types": [kind], "loss_weights": [1.0], "f_divergence_type": "reverse_kl", "use_weighting": False}
    sums = {"ref_chosen_logps": reference.sum(1)[:3], "ref_rejected_logps": reference.sum(1)[3:]}
    fake = trainer(**settings, beta=0.1, ld_alpha=None, precompute_ref_logps=True, aux_loss_enabled=False)
    fake._total_train_tokens, fake._tp_size = 0, 1
    theirs = trl.DPOTrainer._compute_loss(fake, model_of(policy), inputs | sums, False)
    count = torch.tensor(lengths) if normalised else torch.ones(6)
    ours, before = ((side.sum(1) / count).view(2, 3).T for side in (policy, reference))
    assert float(dpo(ours, before, beta=0.1).mean()) == pytest.approx(float(theirs), rel=CLOSE)


@pytest.mark.parametrize("near", [True, False])
def test_kto_is_trls(near: bool) -> None:
    trl = pytest.importorskip("trl")
    lengths = [3, 7, 5, 6]
    inputs, mask = read(lengths)
    policy, reference, other, other_before = (drawn(4, TOKENS + 1, seed=seed, scale=2) * mask for seed in range(9, 13))
    other = other_before - 0.1 * mask if near else other_before + 0.1 * mask  # the divergence is below 0, or above
    label = torch.tensor([True, False, True, True])
    fake = trainer(beta=0.1, loss_type="kto", calculate_KL=True, precompute_ref_logps=True, aux_loss_enabled=False)
    fake.desirable_weight = fake.undesirable_weight = 1.0
    fake._total_train_tokens, fake._tp_size = 0, 1
    fake._compute_kl_logps.side_effect = lambda model, batch: other.sum(1)
    known = {"label": label, "ref_logps": reference.sum(1), "ref_KL_logps": other_before.sum(1)}
    theirs = trl.KTOTrainer._compute_loss(fake, model_of(policy), inputs | known, False)
    base = (other - other_before).sum(1).mean().clamp(min=0).expand(4)
    ours = kto((policy - reference).sum(1), torch.where(label, 1.0, -1.0), base, beta=0.1)
    assert float(ours.mean()) == pytest.approx(float(theirs), rel=CLOSE)


def test_grpo_is_trls() -> None:
    trl = pytest.importorskip("trl")
    lengths, gains = [3, 7, 5, 6], torch.tensor([1.2, -0.3, 0.0, -0.9])
    mask = (torch.arange(TOKENS) < torch.tensor(lengths)[:, None]).float()
    policy, before, reference = (drawn(4, TOKENS, seed=seed) for seed in range(13, 16))
    settings = {"loss_type": "grpo", "importance_sampling_level": "token", "epsilon_low": 0.2, "epsilon_high": 0.2}
    off = {"top_entropy_quantile": 1.0, "off_policy_mask_threshold": None, "use_vllm": False, "aux_loss_enabled": False}
    fake = trainer(**settings, **off, beta=0.04, current_gradient_accumulation_steps=1, _entropy_bonus_enabled=False)
    fake.args.delta, fake.args.use_bias_correction_kl = None, False
    fake._get_per_token_logps_and_entropies.return_value = (policy, torch.zeros_like(policy), None)
    ids = torch.ones(4, 2, dtype=torch.long)
    inputs = {"prompt_ids": ids, "prompt_mask": ids, "completion_ids": mask.long(), "completion_mask": mask}
    known = {"advantages": gains, "old_per_token_logps": before, "ref_per_token_logps": reference}
    theirs = trl.GRPOTrainer._compute_loss(fake, None, inputs | known)
    each = grpo(policy, before, reference, gains[:, None].expand_as(policy), clip=0.2, beta=0.04)
    assert float(((each * mask).sum(1) / mask.sum(1)).mean()) == pytest.approx(float(theirs), rel=CLOSE)
