"""One pass, one iteration of the blocks: states, attention weights and losses of the blocks' own all come from it; a
block with experts, one with cross-attention and an adapter are files of their own.

Letters: B rows, T tokens, D width, E experts, R rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from bothways.errors import ModelError
from bothways.model import Model, ModelConfig
from bothways.model.attention import attend, split_heads
from bothways.model.block import Attention, Block, RMSNorm
from bothways.model.passing import Pass
from bothways.objectives import build
from bothways.training.loop import LoopInputs, loss_names, train
from bothways.training.pretraining.setup import losses_of
from bothways.training.state import State, load_state, save_state
from bothways.training.weights import kinds
from bothways.visibility import ordered
from tests.model.small import MODERN, SHAPES, model_of, packed, random_tokens
from tests.training.small import VOCABULARY, batches, everything, settings, small_model, state_of, work_of


class Experts(nn.Module):
    """A toy of a block: attention, then the likelier of two feed-forward layers for every token (Fedus et al. 2021);
    the router's own loss is least where both have as much to do."""

    extra_losses = ("balance",)

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm, self.attention = RMSNorm(config.width, config.norm.epsilon), Attention(config)
        self.router = nn.Linear(config.width, 2, bias=False)
        self.experts = nn.ModuleList(nn.Linear(config.width, config.width, bias=False) for _ in range(2))

    def forward(self, x: Tensor, given: Pass) -> Tensor:
        x = given.wanted(x) + self.attention(self.norm(x), given)
        chances = self.router(x).softmax(-1)  # [B, T, E], or [N, E]
        given.add_loss("balance", 2 * (chances.view(-1, 2).mean(0) ** 2).sum())
        likelier, chosen = chances.max(-1, keepdim=True)
        outputs = torch.stack([expert(x) for expert in self.experts], -2)
        return x + likelier * outputs.take_along_dim(chosen[..., None], -2)[..., 0, :]


class LowRank(nn.Module):
    """A toy of an adapter in a linear layer's place, which stays as it is (LoRA, Hu et al. 2021)."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(requires_grad=False)
        self.narrow = nn.Linear(base.in_features, rank, bias=False)
        self.wide = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.wide.weight)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.base(x) + self.wide(self.narrow(x))
        return result


class CrossAttention(nn.Module):
    """A toy of a decoder's block: the block itself, then attention to what an encoder read."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.block, self.attention = Block(config), Attention(config)

    def forward(self, x: Tensor, given: Pass) -> Tensor:
        assert given.memory is not None
        x, (memory, mask) = self.block(x, given), given.memory
        heads = self.attention.heads
        q, _, _ = split_heads(self.attention.qkv(x), heads=heads, rotary=None)
        _, k, v = split_heads(self.attention.qkv(memory), heads=heads, rotary=None)
        result: Tensor = x + self.attention.out(attend(q, k, v, mask).transpose(1, 2).flatten(2))
        return result


def with_experts(config: ModelConfig = MODERN) -> Model:
    model = model_of(config)
    for number in range(2):
        torch.manual_seed(number)
        model.backbone.blocks[number] = Experts(config)
    return model


def adapted(*, seed: int = 0) -> Model:
    """All that learns is two small matrices beside one linear layer of each block."""
    model = small_model(layers=2, seed=seed).requires_grad_(requires_grad=False)
    torch.manual_seed(seed)
    for block in model.backbone.blocks:
        block.up = LowRank(block.up, rank=2)
    return model


def a_pass(model: Model, **more: object) -> tuple[Tensor, Pass]:
    layout = packed([9, 4], [13], causal=True, segments=model.config.classic)
    x: Tensor = model.backbone.embeddings(random_tokens(layout), layout)
    return x, Pass(layout, ordered.dense(layout), **more)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_state_comes_from_one_iteration(shape: str) -> None:
    """The embeddings first, the state after every block, and last what a pass gives."""
    model = model_of(SHAPES[shape])
    with torch.no_grad():
        x, given = a_pass(model)
        states = [*model.backbone.states(x, given)]
        whole = model.backbone(random_tokens(given.layout), given.layout, given.mask)
    assert len(states) == 1 + SHAPES[shape].layers
    assert torch.equal(states[0], x) and torch.equal(states[-1], whole)
    assert not any(torch.equal(one, other) for one, other in pairwise(states))


def test_who_leaves_early_computes_no_more_blocks() -> None:
    model = model_of(MODERN)
    entered: list[int] = []
    for number, block in enumerate(model.backbone.blocks):
        block.register_forward_hook(lambda *_, number=number: entered.append(number))
    states: Iterator[Tensor] = model.backbone.states(*a_pass(model))
    for _ in range(3):
        next(states)
    assert entered == [0, 1]


@pytest.mark.parametrize("shape", SHAPES)
def test_attention_weights_come_from_the_same_iteration(shape: str) -> None:
    """Lines sum to 1 over what is seen; to look changes nothing; who sees all has no mask."""
    model, weights = model_of(SHAPES[shape]), list[Tensor]()
    with torch.no_grad():
        x, given = a_pass(model)
        plain = model.backbone.encode(x, given)
        x, given = a_pass(model, watched={"attention": weights})
        assert torch.equal(model.backbone.encode(x, given), plain)
        assert isinstance(given.mask, Tensor)
        assert len(weights) == SHAPES[shape].layers
        for some in weights:
            assert some.shape == (2, 2, 13, 13)
            assert not some.masked_select(~given.mask).any()
            torch.testing.assert_close(some.sum(-1), torch.ones(2, 2, 13))
        weights.clear()
        model.backbone.encode(x, Pass(given.layout, None, watched={"attention": weights}))
        assert (weights[0] > 0).all()


def test_states_attention_and_a_routers_loss_come_from_one_iteration() -> None:
    model = with_experts()
    weights: list[Tensor] = []
    losses: dict[str, Tensor] = {}
    states = [*model.backbone.states(*a_pass(model, watched={"attention": weights}, losses=losses))]
    assert (len(states), len(weights), {*losses}) == (4, 3, {"balance"})
    losses["balance"].backward()
    assert all(model.backbone.blocks[number].router.weight.grad.any() for number in range(2))
    assert losses["balance"].item() >= 2 * (1 - 1e-5)  # two blocks, each at least 1


def test_a_routers_loss_is_not_lost() -> None:
    """Where it would be learned from, somebody must take it; elsewhere nobody does."""
    model = with_experts()
    x, given = a_pass(model)
    with pytest.raises(RuntimeError, match=r"adds the loss 'balance'.*losses=\{\}"):
        model.backbone.encode(x, given)
    with torch.no_grad():
        model.backbone.encode(x, given)


@pytest.mark.parametrize("objective", ["mlm", "electra"])
def test_a_routers_loss_is_trained_with_the_objectives(objective: str) -> None:
    """Its mean counts as much as all targets do, and it is reported by its name; it is no part of a validation."""
    built = build(objective, VOCABULARY)
    config = ModelConfig(vocabulary=VOCABULARY.size, layers=1, width=32, heads=2, inner=48, init=0.1)
    model = Model(config, heads=built.heads, parts=built.parts)
    torch.manual_seed(0)
    model.backbone.blocks[0] = Experts(config)
    state = state_of(model, settings(learning_rate=1e-2).optimiser)
    names = loss_names(model, built.shares)
    assert "balance" in names
    work = LoopInputs(losses_of(built, model), lambda step, progress: batches(built, rows=8, each=4, seed=step), names)
    before = model.backbone.blocks[0].router.weight.detach().clone()
    first, *_ = train(work, state=state, config=settings(), total=1)
    assert not torch.isclose(model.backbone.blocks[0].router.weight, before).any()
    (batch,) = batches(built, rows=8, each=8, seed=0)
    weight = {target.name: float(target.weight.sum()) for target in batch.targets}
    others = sum(first.losses[name] * weight[name] for name in weight) / sum(weight.values())
    assert first.loss == pytest.approx(others + first.losses["balance"], rel=1e-4)
    with torch.no_grad():
        assert "balance" not in losses_of(built, model)(batch, torch.Generator().manual_seed(0))


def test_an_adapter_is_a_module_in_a_layers_place() -> None:
    """At first it changes nothing; its matrices are a block's, and what it stands beside does not learn."""
    plain, model = small_model(layers=2).eval(), adapted().eval()
    batch = batches(build("causal", VOCABULARY), rows=2, each=2)[0]
    with torch.no_grad():
        assert torch.equal(plain.states(batch), model.states(batch))
    names = [f"backbone.blocks.{number}.up.{part}.weight" for number in range(2) for part in ("narrow", "wide")]
    assert kinds(model) == dict.fromkeys(names, "matrices")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["adamw", "lamb", "muon"])
def test_what_is_frozen_stays_as_it_is(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    """Through weight decay, with no gradient, no state and no place in a checkpoint; and a run resumes with it."""
    config = settings(name, weight_decay=0.5, learning_rate=1e-2)

    def fresh() -> tuple[Model, State]:
        model = adapted()
        return model, state_of(model, config.optimiser, dtype=dtype)

    model, state = fresh()
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    masters = {key: weight.clone() for key, weight in state.weights.frozen.items()}
    learns = {key for key in before if "narrow" in key or "wide" in key}
    assert {*state.weights.master} == learns and {*masters} == before.keys() - learns
    for _ in train(work_of(model), state=state, config=config, total=4):
        pass
    save_state(state, tmp_path)
    for _ in train(work_of(model), state=state, config=config, total=8):
        pass
    for key, parameter in model.named_parameters():
        assert torch.equal(parameter, before[key]) == (key not in learns), key
        assert parameter.grad is None
    assert all(torch.equal(state.weights.frozen[key], weight) for key, weight in masters.items())
    original = dict(adapted().named_parameters())
    assert all(torch.equal(weight, original[key]) for key, weight in masters.items())  # float32 whatever is computed in
    for file in ("weights", "optimiser"):
        with safe_open(tmp_path / "step-4" / f"{file}.safetensors", framework="pt") as found:
            assert {key.split("#")[0] for key in found.keys()} == learns  # noqa: SIM118 (not a dict)
    again, other = fresh()
    load_state(other, tmp_path / "step-4")
    for _ in train(work_of(again), state=other, config=config, total=8):
        pass
    straight, resumed = everything(state), everything(other)
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[key], resumed[key]) for key in straight)
    _, changed = fresh()
    changed.weights.frozen["backbone.embeddings.tokens.weight"].add_(1)
    with pytest.raises(
        ModelError, match=r"step-4 was trained beside other frozen weights: backbone\.embeddings\.tokens\.weight\."
    ):
        load_state(changed, tmp_path / "step-4")


def test_a_decoders_block_reads_what_an_encoder_read() -> None:
    """Its tokens see the encoder's of their own document, and nothing else of them."""
    model = model_of(MODERN)
    source, layout = packed([5, 6]), packed([3, 4], causal=True)
    torch.manual_seed(0)
    model.backbone.blocks[0] = CrossAttention(MODERN)
    del model.backbone.blocks[1:]
    who = ordered.dense(replace(layout, step=layout.step + 1), source)  # the source is of an earlier step

    def last(memory: Tensor) -> Tensor:
        x = model.backbone.embeddings(random_tokens(layout), layout)
        with torch.no_grad():
            return model.backbone.encode(x, Pass(layout, ordered.dense(layout), memory=(memory, who)))

    memory = torch.randn(1, 11, 64, generator=torch.Generator().manual_seed(0))
    changed = memory.clone()
    changed[:, 7] += 1  # in the second document
    one, other = last(memory), last(changed)
    assert torch.equal(one[:, :3], other[:, :3])
    assert not torch.isclose(one[:, 3:], other[:, 3:]).all(-1).any()
