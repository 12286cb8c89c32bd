"""Adapters on a model: what they add, what learns, and what is left of them when they are merged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from bothways.batch import Batch, Target
from bothways.errors import ModelError, UsageError
from bothways.model import Cache, Model, ModelConfig
from bothways.model.adapters import LoraLinear, check_fits, learned, merged, place, read_adapter, sharing
from bothways.model.losses import plain_loss
from bothways.model.passing import Pass
from bothways.visibility import ordered
from tests.model.small import CLASSIC, MODERN, changed, model_of, packed, random_tokens

GROUPED = changed(MODERN, heads=4, attention={"key_heads": 2, "bias": "qkv"})
UNTIED = MODERN.model_copy(update={"word_head": "untied"})
CONFIGS = {"modern": MODERN, "classic": CLASSIC, "grouped": GROUPED, "untied": UNTIED}
EVERY = ("lora(rank=3)", "soft_prompt(tokens=4)", "prefix(tokens=3)", "norms", "bias")


def adapted(config: ModelConfig, expression: str, *, vocabulary: int = 97, spoilt: bool = True) -> Model:
    """A model with an adapter that has learned something."""
    generator = torch.Generator().manual_seed(5)
    adapter = read_adapter(expression)
    model = place(model_of(config), adapter, vocabulary=vocabulary, generator=generator)
    names = learned(model, adapter, ())
    if spoilt:
        with torch.no_grad():
            for name in names:
                weight = model.get_parameter(name)
                weight.add_(torch.empty_like(weight).normal_(0.0, 0.2, generator=generator))
    return model.eval()


def logits(model: Model, *, causal: bool = True, rows: tuple[list[int], ...] = ([9, 5], [11])) -> torch.Tensor:
    layout = packed(*rows, causal=causal)
    real = layout.document >= 0
    with torch.no_grad():
        return model(Batch(random_tokens(layout), layout, ()))[real]


def batch_of(config: ModelConfig, *, rows: tuple[list[int], ...] = ([40, 20], [61])) -> Batch:
    layout = packed(*rows, causal=True)
    tokens = random_tokens(layout, vocabulary=config.vocabulary)
    at = torch.arange(0, tokens.numel(), 3)
    return Batch(tokens, layout, (Target("words", at, tokens.flatten()[at], torch.ones(len(at))),))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_at_the_first_step_nothing_is_added(config: ModelConfig) -> None:
    model = adapted(config, "lora(rank=4)", spoilt=False)
    assert torch.equal(logits(model), logits(model_of(config)))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_low_rank_products_are_the_formula(dropout: float, dtype: torch.dtype) -> None:
    """Values and gradients, of rows 3 to 8 and 10 to 16 of a layer."""
    torch.manual_seed(0)
    own = LoraLinear(
        torch.nn.Linear(7, 16, dtype=dtype), [range(3, 8), range(10, 16)], rank=3, scale=0.7, dropout=dropout
    )
    own.weight.requires_grad_(False)
    with torch.no_grad():
        own.lora_a.normal_()
        own.lora_b.normal_()
    x, grad = torch.randn(2, 5, 7, dtype=dtype), torch.randn(2, 5, 16, dtype=dtype)
    inputs = x.clone().requires_grad_(), own.lora_a, own.lora_b
    torch.manual_seed(1)
    result = own.train()(inputs[0])
    found = torch.autograd.grad(result, inputs, grad)

    torch.manual_seed(1)
    read, (a, b) = F.dropout(inputs[0], dropout), (own.lora_a, own.lora_b)
    added = torch.zeros(2, 5, 16, dtype=dtype)
    parts = [(read @ a[:3].T) @ b[:5].T, (read @ a[3:].T) @ b[5:].T]
    expected = F.linear(inputs[0], own.weight, own.bias) + 0.7 * torch.cat(
        [added[..., :3], parts[0], added[..., 8:10], parts[1]], -1
    )
    close: Any = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.05, "atol": 0.1}
    torch.testing.assert_close(result, expected, **close)
    for one, other in zip(found, torch.autograd.grad(expected, inputs, grad), strict=True):
        torch.testing.assert_close(one, other, **close)


def test_a_frozen_layer_under_the_first_adapter_has_no_gradient() -> None:
    linear = LoraLinear(torch.nn.Linear(4, 4).requires_grad_(False), [range(4)], rank=2, scale=1.0)
    x = torch.randn(3, 4)
    linear(x).sum().backward()
    assert x.grad is None and linear.weight.grad is None and linear.lora_b.grad is not None


EVERYWHERE = ("lora(rank=3, on=[q, v], alpha=5)", "lora(rslora=true)", "norms")
MERGED = [
    *((config, one) for config in (CLASSIC, GROUPED, UNTIED) for one in EVERYWHERE),
    *((config, "bias") for config in (CLASSIC, GROUPED)),  # UNTIED has none
]


@pytest.mark.parametrize(("config", "expression"), MERGED)
def test_merged_equals_unmerged(config: ModelConfig, expression: str) -> None:
    model = adapted(config, expression).double()
    plain = merged(model)
    assert plain.state_dict().keys() == model_of(config).state_dict().keys()
    assert not any(isinstance(module, LoraLinear) for module in plain.modules())
    expected = logits(model)
    assert (logits(plain) - expected).abs().max() < 1e-5 * expected.abs().max()
    assert (logits(plain) - logits(model_of(config).double())).abs().max() > 0.01
    assert (plain.table is model.table and plain.words.untied is None) or config is UNTIED


def test_a_prompt_and_a_prefix_cannot_be_merged() -> None:
    for expression, what in (("soft_prompt", "soft prompt"), ("prefix", "prefix")):
        with pytest.raises(ModelError, match=f"a {what} is added to what the model reads"):
            merged(adapted(MODERN, expression))


@pytest.mark.parametrize("expression", EVERY)
def test_only_the_adapter_learns(expression: str) -> None:
    config = changed(GROUPED, attention={"bias": "all"})
    model = adapted(config, expression)
    frozen = {name: one.clone() for name, one in model.named_parameters() if not one.requires_grad}
    learns = {name: one.clone() for name, one in model.named_parameters() if one.requires_grad}
    batch = batch_of(config)
    if expression.startswith("soft"):
        tokens = batch.tokens.clone()
        tokens[0, :4] = torch.arange(97, 101)
        batch = replace(batch, tokens=tokens)
    optimiser = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=0.01)
    (loss, _) = plain_loss(model, batch)["loss"]
    loss.backward()
    optimiser.step()
    for name, one in model.named_parameters():
        if name in frozen:
            assert one.grad is None and torch.equal(one, frozen[name])
        else:
            assert not torch.equal(one, learns[name]), name
    assert sum(one.numel() for one in learns.values()) < 0.35 * sum(one.numel() for one in frozen.values())


@pytest.mark.parametrize("config", [MODERN, GROUPED, CLASSIC], ids=["modern", "grouped", "classic"])
def test_a_prefix_is_keys_and_values_alone(config: ModelConfig) -> None:
    """As if tokens with these keys stood before the text, but at no place: plain attention over P + T keys."""
    model = adapted(config, "prefix(tokens=3)")
    prefix, layout = model.backbone.prefix().detach(), packed([7], causal=True)  # type: ignore[misc]
    assert prefix.shape == (config.layers, 2, config.key_heads, 3, config.head_width)
    tokens, attention = random_tokens(layout), model.backbone.blocks[0].attention
    given = Pass(layout, ordered.dense(layout), prefix=prefix).prepared(config, 1, torch.float32)
    given = given.in_block(0, window=None, last=False)
    x = model.backbone.embeddings(tokens, layout).detach()
    q, k, v = attention.rotated_heads(attention.qkv(x), given.rotary)
    k, v = (
        torch.cat([own[None], one], 2).repeat_interleave(config.heads // config.key_heads, 1)
        for own, one in zip(prefix[0], (k, v), strict=True)
    )
    hidden = torch.ones(7, 10).tril(3) == 0
    scores = (q @ k.mT * config.head_width**-0.5).masked_fill(hidden, -torch.inf)
    expected = attention.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x, given), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", [MODERN, GROUPED, CLASSIC], ids=["modern", "grouped", "classic"])
def test_a_cache_keeps_a_prefix_before_its_tokens(config: ModelConfig) -> None:
    """Token by token, after a slot was moved, the states are those of the whole row, whose places begin at 0."""
    model = adapted(config, "prefix(tokens=5)")
    layout = packed([6], [6], causal=True)
    tokens = random_tokens(layout)
    with torch.inference_mode():
        whole = model.states(Batch(tokens, layout, ()))
        prefix = model.backbone.prefix()  # type: ignore[misc]
        cache = Cache(config, rows=2, capacity=6, like=model.table, prefix=prefix)
        cache.take(2)
        found = []
        for begin, end in ((0, 3), (3, 4), (4, 6)):
            own = layout.map(lambda column, begin=begin, end=end: column[:, begin:end])
            mask = ordered.dense(own, cache.grow(own))
            found.append(model.backbone(tokens[:, begin:end], own, mask, cache))
            assert cache.layers[0].kept()[0].shape[2] == 5 + end
            cache.select([1, 0])
            tokens, layout = tokens.flip(0), layout.map(lambda column: column.flip(0))
            found = [one.flip(0) for one in found]
    torch.testing.assert_close(torch.cat(found, 1).flip(0), whole, rtol=1e-4, atol=1e-5)


def test_a_soft_prompt_is_embeddings_before_the_text() -> None:
    model = adapted(MODERN, "soft_prompt(tokens=4)", vocabulary=90)
    layout = packed([9], causal=True)
    tokens = random_tokens(layout, vocabulary=80)
    tokens[:, :4] = torch.arange(90, 94)
    rows = model.backbone.embeddings(tokens, layout)
    assert torch.equal(rows[0, :4], model.backbone.embeddings.prompt)
    assert torch.equal(rows[0, 4:], model.table[tokens[0, 4:]])


def test_models_that_share_their_weights_share_the_rule() -> None:
    """It is asked for as the very same, `rule is ordered`, where a faster path is right under that one alone."""
    assert sharing(model_of(MODERN)).rule is ordered and merged(model_of(MODERN)).rule is ordered


def test_models_that_share_their_weights() -> None:
    """Each has its adapter and all of its base; the base answers as before."""
    base = model_of(MODERN)
    before, size = logits(base), base.parameter_count()
    shared = []
    for seed in range(3):
        model = place(sharing(base), read_adapter("lora(rank=2)"), vocabulary=97, generator=torch.Generator())
        with torch.no_grad():
            model.backbone.blocks[0].down.lora_b.normal_(generator=torch.Generator().manual_seed(seed))
        shared.append(model)
    assert all(model.table is base.table for model in shared)
    own = {id(one) for model in (base, *shared) for one in model.parameters()}
    assert len(own) == len([*base.parameters()]) + 3 * 2 * 3 * 5  # A and B of three blocks' five layers
    assert torch.equal(logits(base), before) and base.parameter_count() == size
    answers = [logits(model) for model in shared]
    assert not torch.equal(answers[0], answers[1]) and not torch.equal(answers[1], answers[2])


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("lora(rank=0)", "adapter lora.rank: Input should be greater than or equal to 1, got 0"),
        ("lora(rank=2.5)", "adapter lora.rank: Input should be a valid integer"),
        ("lora(on=[q, gates])", "unknown product 'gates'. Did you mean 'gate'?"),
        ("lora(rnk=2)", "unknown argument of lora 'rnk'. Did you mean 'rank'?"),
        ("lore(rank=2)", "unknown adapter 'lore'. Did you mean 'lora'?"),
        ("lora(on=[])", "adapter lora.on: expected a list of products, as [q, v]"),
        ("lora(on=q)", "out of q, k, v, out, gate, up, down; got q"),
        ("lora(rank=8", "cannot read 'lora(rank=8' in the adapter"),
        ("lora(rank)", "cannot read 'rank' in the adapter 'lora(rank)': expected key=value"),
        ("soft_prompt(tokens=0)", "adapter soft_prompt.tokens"),
        ("lora(dropout=1)", "adapter lora.dropout"),
    ],
)
def test_what_is_no_adapter_is_refused(expression: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_adapter(expression)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("config", "expression", "causal", "said"),
    [
        (MODERN, "bias", True, "has no biases: take norms"),
        (MODERN, "prefix", False, "reads from all sides: take soft_prompt(tokens=10), or lora"),
        (CLASSIC, "lora(on=[q, gate])", False, "no product 'gate' (its feed-forward network has no gate); it has q, k"),
        (MODERN, "soft_prompt(tokens=40)", True, "more than half of the 64 tokens"),
        (MODERN, "lora(rank=1000)", True, "expected a rank of at most"),
    ],
)
def test_what_a_model_has_no_place_for_is_refused(
    config: ModelConfig, expression: str, causal: bool, said: str
) -> None:
    with pytest.raises(UsageError) as refused:
        check_fits(model_of(config), read_adapter(expression), causal=causal)
    assert said in str(refused.value)


def test_an_expression_is_written_as_it_is_read() -> None:
    for text in ("lora", "lora(rank=4, alpha=3.5, on=[q, v], dropout=0.1, rslora=true)", "prefix(tokens=3, hidden=9)"):
        assert str(read_adapter(text)) == text
        assert read_adapter(str(read_adapter(text))) == read_adapter(text)
