"""No half characters: what is written is whole text, whatever tokens a model says and wherever they are cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothways.inference import LanguageModel
from bothways.inference.decoding.sequence import detokenize
from tests.inference.made import (
    ANY_ORDER,
    BANG,
    BLOCKS,
    CAUSAL,
    DIFFUSION,
    MASS,
    PREFIX,
    UNILM1,
    full_text,
    load,
    make_run,
    tokenizer,
)

# Emoji of several code points, Chinese, letters with marks of their own, Arabic, astral ideographs, plain words.
WORDS = st.sampled_from(
    ["🙂", "👩\u200d👩\u200d👧", "今天", "天气很好", "e\u0301", "naïve", "سلام", "𠮷", " the", "fox", "\n", " "]
)
TEXT = st.one_of(st.lists(WORDS, max_size=8).map("".join), st.text(st.characters(codec="utf-8"), max_size=12))


@given(TEXT, st.integers(0, 60))
def test_a_text_cut_anywhere_is_whole_up_to_the_cut(text: str, cut: int) -> None:
    """Byte-level tokens: what was begun stays, what follows is the rest, less half a character at its end."""
    own = tokenizer()
    tokens = own.encode(text)
    whole = own.decode(tokens).replace("\ufffd", "")
    for begun in {0, len(tokens) // 3}:
        before = own.decode(tokens[:begun])
        if "\ufffd" in before:
            continue  # a prompt is text
        written = detokenize(own, tokens[:begun], tokens[begun : begun + cut])
        assert "\ufffd" not in written
        assert whole.startswith(before + written)
        missing = len(whole.encode()) - len((before + written).encode())
        assert cut < len(tokens) - begun or not missing


@given(st.lists(st.integers(5, 399), max_size=20), st.lists(st.integers(5, 399), max_size=5), TEXT)
def test_any_tokens_at_all_are_whole_characters(new: list[int], more: list[int], prompt: str) -> None:
    """What a model that learned nothing says: bytes that belong together with no others are left out."""
    own = tokenizer()
    assert own.vocabulary.size == 400
    begun = own.encode(prompt)
    written = detokenize(own, begun, new)
    written.encode()
    assert "\ufffd" not in written
    assert own.decode(begun) + detokenize(own, begun, [*new, *more]) == own.decode([*begun, *new, *more]).replace(
        "\ufffd", ""
    )


@pytest.mark.parametrize("count", range(3))
def test_half_an_emoji_at_the_end_is_left_out(count: int) -> None:
    own = tokenizer()
    fox = own.encode("🦊")
    assert len(fox) == 3, "the tokenizer never saw it"
    begun = np.array(own.encode("ok"), dtype=np.int64)
    assert detokenize(own, begun, [*own.encode(" so"), *fox[:count]]) == " so"
    assert detokenize(own, begun, [*own.encode(" so"), *fox[:count], *own.encode(" on")]) == " so on"
    assert detokenize(own, begun, [*own.encode(" so"), *fox]) == " so🦊"


def test_wordpieces_are_joined_to_the_prompt_as_they_are_written() -> None:
    own = tokenizer("wordpiece")
    whole = own.encode("The quick brown fox")
    for cut in range(1, len(whole)):
        assert own.decode(whole[:cut]) + detokenize(own, whole[:cut], whole[cut:]) == "The quick brown fox"


PROMPTS = ["Once 🙂", "今天天气", "", "naïve cafe\u0301"]
MODELS = {
    "decoder": CAUSAL,
    "prefix": PREFIX,
    "append-mask": UNILM1,
    "unmask": DIFFUSION,
    "any-order": ANY_ORDER,
    "blocks": BLOCKS,
    "streams": BANG,
    "fragment": MASS,
}


@pytest.mark.parametrize("way", MODELS)
def test_every_way_of_decoding_writes_whole_characters(way: str, tmp_path: Path) -> None:
    """By models with random weights, half of whose tokens are single bytes; prompts stay as they were given."""
    found = load(make_run(tmp_path / "run", MODELS[way]))
    written = [full_text(found, PROMPTS, max_new_tokens=24, seed=seed) for seed in range(4)]
    if way in ("decoder", "prefix", "append-mask"):
        written.append(full_text(found, PROMPTS, max_new_tokens=24, num_beams=2))
    for texts in written:
        for text, prompt in zip(texts, PROMPTS, strict=True):
            assert text.startswith(prompt) and "\ufffd" not in text


def test_a_gap_among_emoji_and_ideographs_is_whole_characters(loaded: LanguageModel) -> None:
    texts = ["🙂[GAP]🙂", "今[GAP]天", "[GAP]👩\u200d👩\u200d👧", "e\u0301[GAP]", "a [MASK][MASK]气 [GAP] 𠮷"]
    for seed in range(4):
        for text, written in zip(texts, loaded.infill(texts, longest=4, temperature=1.0, seed=seed), strict=True):
            assert "\ufffd" not in written and "[GAP]" not in written
            before, after = text.replace("[MASK]", "[GAP]").split("[GAP]")[0], text.split("[GAP]")[-1]
            assert written.startswith(before.rstrip()) and written.endswith(after)
