"""Continues a text, in the way that its objective taught; or writes what comes before it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from bothways.errors import UsageError
from bothways.inference.decoding.autoregressive import ONWARDS, Autoregressive, NextToken
from bothways.inference.decoding.bang import write_streams
from bothways.inference.decoding.beams import search
from bothways.inference.decoding.block_diffusion import write_blocks
from bothways.inference.decoding.mass import write_fragments
from bothways.inference.decoding.options import GenerationOptions, GrowingText, spell, spell_before
from bothways.inference.decoding.sampling import forbid_repeats
from bothways.inference.decoding.unmasking import write_masked
from bothways.inference.engine import Engine
from bothways.model import Abilities

ROWS_AT_ONCE = 32
IN_STEPS = {"streams": write_streams, "blocks": write_blocks, "unmask": write_masked}
OTHERWISE = IN_STEPS | {"fragment": partial(write_masked, tell=write_fragments)}
"""Ways of options that do not ask for the next token alone."""


def way_of_decoding(trained: Abilities, *, in_steps: bool = False) -> str | None:
    """The first of these ways to continue a text that the objective taught; `in_steps`: in so many passes."""
    ways = tuple(IN_STEPS) if in_steps else ("prefix", "append-mask", "pseudo-mask", "decoder", "backward", *OTHERWISE)
    return next((way for way in ways if way in trained.decoding or way in trained.faces), None)


def generate(engine: Engine, prompts: Sequence[str], options: GenerationOptions) -> list[str]:
    """Every prompt with its continuation, which ends after `max_new_tokens` tokens or at one that ends a text (left
    out): [SEP], or in a model of others what its generation_config.json or config.json names as eos_token_id.

    Where the objective taught to read from right to left alone, the prompt is the end of a text, and what is written
    stands before it and ends at [CLS].

    When a text outgrows the model, its older half is forgotten: [CLS] and the newer half are read again, as training
    cuts long documents too. Prompt i draws from a random stream of (seed, i), whatever stands beside it.

    Raises:
        UsageError: an option that does nothing here.
        ModelError: the objective did not teach it.
    """
    way = way_of_decoding(engine.trained, in_steps=options.steps is not None)
    if way is None:
        raise engine.cannot("decoder" if options.steps is None else "unmask")
    if way in OTHERWISE and (options.beams is not None or options.no_repeat is not None):
        raise UsageError(
            "beams and no_repeat are for models that say one next token after the other, and this one writes "
            f"by {way}: leave them out"
        )
    if way not in ("blocks", "unmask") and options.order != "confidence":
        raise UsageError("order is for unmasking, and this model writes from left to right: leave it out")
    backward = way in ONWARDS and ONWARDS[way].backward
    begun = [_begun(engine, prompt, options) for prompt in prompts]
    begun = [tokens[::-1] for tokens in begun] if backward else begun
    order = sorted(range(len(prompts)), key=lambda number: len(begun[number]))
    result = [""] * len(prompts)
    at_once = max(1, ROWS_AT_ONCE // (options.beams or 1))
    for start in range(0, len(order), at_once):
        numbers = order[start : start + at_once]
        streams = [np.random.default_rng((options.seed, number)) for number in numbers]
        limit = options.max_new_tokens
        texts = [
            GrowingText(begun[number], stream, limit, opening=_opening(engine, begun[number], backward=backward))
            for number, stream in zip(numbers, streams, strict=True)
        ]
        if way in OTHERWISE:
            OTHERWISE[way](engine, texts, options)
        elif options.beams is not None:
            search(engine, ONWARDS[way], texts, options)
        else:
            _draw(engine, ONWARDS[way], texts, options)
        for number, text in zip(numbers, texts, strict=True):
            if backward:
                before = spell_before(engine.tokenizer, text.new[::-1], begun[number][::-1])
                result[number] = before + prompts[number]
            else:
                result[number] = prompts[number] + spell(engine.tokenizer, begun[number], text.new)
    return result


def _begun(engine: Engine, prompt: str, options: GenerationOptions) -> np.ndarray:
    """The tokens of a prompt, without what stands before every text where the prompt writes that out."""
    if not options.special_tokens:
        return np.array(engine.tokenizer.encode(prompt), dtype=np.int64)
    tokens, (before, _) = np.array(engine.tokenizer.encode_named(prompt), dtype=np.int64), engine.around(closed=False)
    return tokens[len(before) :] if tuple(tokens[: len(before)].tolist()) == before else tokens


def _opening(engine: Engine, tokens: np.ndarray, *, backward: bool) -> tuple[int, ...]:
    """What is read before the prompt; from right to left [SEP]."""
    if backward:
        return (engine.tokenizer.vocabulary.sep,)
    before, _ = engine.around(closed=False)
    return before if before or len(tokens) else engine.tokenizer.nothing


def _draw(engine: Engine, way: Autoregressive, texts: Sequence[GrowingText], options: GenerationOptions) -> None:
    """Writes all texts to their end, one token after the other."""
    while growing := [text for text in texts if text.left]:
        _grow(engine, way, growing, options)


@torch.inference_mode()
def _grow(engine: Engine, way: Autoregressive, texts: Sequence[GrowingText], options: GenerationOptions) -> None:
    """Adds tokens to all texts until none grows or one needs its older half forgotten."""
    ends, room = way.ends(engine.tokenizer.vocabulary), engine.model.config.length - way.asks
    silent = engine.silent_onwards(ends)
    for text in texts:
        text.forget(len(text.new), room)
    rows = [text.row(text.new) for text in texts]
    rounds = min(1 + room - max(map(len, rows)), max(text.left for text in texts))
    told = NextToken(engine, way, rows, prompts=[text.prompt for text in texts], rounds=rounds)
    for number in range(rounds):
        told.logits[:, silent] = -torch.inf
        forbid_repeats(told.logits, (way.counted(text.begun, text.new) for text in texts), options.no_repeat)
        drawn = options.sampling(told.logits, np.array([text.stream.random() for text in texts]))
        for text, token in zip(texts, drawn.tolist(), strict=True):
            text.add(token, ends)
        if number == rounds - 1 or not any(text.left for text in texts):
            return
        told.add(drawn)
