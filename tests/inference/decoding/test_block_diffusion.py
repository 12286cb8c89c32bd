"""Block diffusion: a noisy block sees the clean blocks before it and itself, with the cache as without it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch

from bothways.errors import ModelError
from bothways.inference import LanguageModel
from bothways.inference.decoding.block_diffusion import CleanBlocks
from bothways.inference.engine import Engine
from bothways.model import Abilities
from bothways.visibility import Layout, ordered
from tests.inference.made import BLOCKS, ENGLISH, full_text, load, make_run

SIZE = BLOCKS.decoding["blocks"]
PROMPTS = ["Once upon a time", "", "A small", "今天天气", ENGLISH[0]]


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load(make_run(tmp_path_factory.mktemp("runs") / "blocks", BLOCKS, seed=1, length=36))


class Uncached:
    """As CleanBlocks, but the clean copy and the noisy block are laid side by side as in training, and read anew."""

    def __init__(self, engine: Engine, *, size: int, rows: int, capacity: int) -> None:
        self.engine, self.rows, self.size = engine, list[np.ndarray](), size

    def join(self, rows: Sequence[np.ndarray]) -> None:
        self.rows += rows

    def select(self, rows: Sequence[int]) -> None:
        self.rows = [self.rows[row] for row in rows]

    @torch.no_grad()
    def noisy(self, tokens: np.ndarray) -> torch.Tensor:
        return torch.stack([self.one(row, block) for row, block in zip(self.rows, tokens, strict=True)])

    def one(self, row: np.ndarray, block: np.ndarray) -> torch.Tensor:
        count = len(row) + len(block)
        position = np.concatenate([np.arange(count), np.arange(len(row), count)])  # the clean copy, the noisy block
        group = np.repeat([0, 1], [count, len(block)])
        layout = Layout.of(document=np.zeros(len(group)), step=position // self.size, position=position, group=group)
        stacked = Layout.stack([layout])
        clean = np.where(block == 4, 77, block)  # what will stand there, and must not be seen
        tokens = torch.from_numpy(np.concatenate([row, clean, block]))[None]
        states: torch.Tensor = self.engine.model.backbone(tokens, stacked, ordered.dense(stacked))
        return states[0, count:]

    def add(self, tokens: np.ndarray) -> None:
        self.rows = [np.append(row, block) for row, block in zip(self.rows, tokens, strict=True)]


def test_the_cache_gives_the_states_of_training(blocks: LanguageModel) -> None:
    """Rows with no, one and two clean blocks stand together."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(5, 300, size=count * SIZE) for count in (0, 2, 1)]
    cached = CleanBlocks(blocks.engine, size=SIZE, rows=3, capacity=5 * SIZE)
    anew = Uncached(blocks.engine, size=SIZE, rows=3, capacity=5 * SIZE)
    cached.join(rows)
    anew.join(rows)
    for _ in range(2):
        for masks in (SIZE, 3):
            block = rng.integers(5, 300, size=(3, SIZE))
            block[:, -masks:] = 4
            assert torch.allclose(cached.noisy(block), anew.noisy(block), atol=1e-5)
        block = rng.integers(5, 300, size=(3, SIZE))
        cached.add(block)
        anew.add(block)


@pytest.mark.parametrize(
    "options", [{"temperature": 0}, {"temperature": 0, "steps": 4}, {"seed": 2, "steps": 9}], ids=str
)
def test_decoding_with_the_cache_equals_decoding_without(
    options: dict[str, int], blocks: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = full_text(blocks, PROMPTS, max_new_tokens=20, **options)
    monkeypatch.setattr("bothways.inference.decoding.block_diffusion.CleanBlocks", Uncached)
    assert full_text(blocks, PROMPTS, max_new_tokens=20, **options) == found


@pytest.mark.parametrize("count", [5, 60])
def test_an_answer_does_not_depend_on_its_company(count: int, blocks: LanguageModel) -> None:
    """Beyond the model's length too: 36 tokens are four whole blocks of 8."""
    together = full_text(blocks, PROMPTS, max_new_tokens=count, temperature=0)
    assert together == [full_text(blocks, prompt, max_new_tokens=count, temperature=0) for prompt in PROMPTS]
    assert all(text.startswith(prompt) for text, prompt in zip(together, PROMPTS, strict=True))


def test_more_tokens_begin_with_the_fewer(blocks: LanguageModel) -> None:
    """Blocks are written whole; what is too much is cut off."""
    texts = [full_text(blocks, "Once upon", max_new_tokens=count, temperature=0) for count in (0, 3, 8, 21)]
    assert texts[0] == "Once upon"
    for shorter, longer in pairwise(texts):
        assert longer.startswith(shorter) and len(longer) > len(shorter)


@pytest.mark.parametrize(("steps", "expected"), [(None, 24), (12, 12), (1, 3)])
def test_steps_are_shared_by_the_blocks(
    steps: int | None, expected: int, blocks: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 tokens after [CLS] and 7 more: three whole blocks."""
    passes: list[int] = []
    noisy = CleanBlocks.noisy
    monkeypatch.setattr(CleanBlocks, "noisy", lambda self, tokens: passes.append(1) or noisy(self, tokens))
    own = blocks.engine.tokenizer
    prompt = own.decode(own.encode(ENGLISH[0])[:7])
    assert len(own.encode(prompt)) == 7
    full_text(blocks, prompt, max_new_tokens=24, steps=steps, temperature=0)
    assert len(passes) == expected


def test_one_block_as_long_as_the_model_is_plain_unmasking(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("runs")
    whole = load(make_run(folder / "a", Abilities("b", (), None, {"blocks": 99}), length=16))
    plain = load(make_run(folder / "b", Abilities("m", ("encoder",), "in place", {"unmask": 0}), length=16))
    own = whole.engine.tokenizer
    count = 15 - len(own.encode("A small"))
    asked = {"max_new_tokens": count, "temperature": 0}
    room = plain.infill("A small" + "[MASK]" * (count - 1), temperature=0)
    assert full_text(whole, "A small", **asked).startswith("A small") and room.startswith("A small")
    blocks = CleanBlocks(whole.engine, size=16, rows=1, capacity=16)
    blocks.join([np.zeros(0, dtype=np.int64)])
    row = np.array([2, *own.encode("A small"), *[4] * count])
    assert torch.allclose(blocks.noisy(row[None]), plain.engine.read([row], face="encoder"), atol=1e-5)


def test_there_is_no_left_context_only_inside_a_text(blocks: LanguageModel) -> None:
    """A noisy block cannot see what stands behind it: gaps are for models that read from all sides."""
    with pytest.raises(ModelError, match="fill in hidden words: its objective, block-diffusion.*decoding: blocks"):
        blocks.infill("a [GAP] b")
