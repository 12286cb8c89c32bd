"""Texts for sources, by a model that was fine-tuned to write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bothways.errors import ModelError
from bothways.inference.decoding.generate import generate
from bothways.inference.decoding.options import Generation, GenerationOptions, GenerationRequest
from bothways.inference.engine import Engine
from bothways.model.abilities import Writes


def usual_options(writes: Writes, **named: Any) -> GenerationOptions:
    """How such a model generates: the likeliest token every time, up to the longest target, and as it was saved with;
    what is `named` counts before that.

    Raises:
        UsageError: an option that there is not, or a value that it does not take.
    """
    told = {**writes.options, **named}
    if told.get("num_beams"):
        usual: dict[str, Any] = {"max_new_tokens": writes.target}
    else:
        usual = {"max_new_tokens": writes.target, "temperature": 0.0}
    return GenerationOptions(**{**usual, **told})


def written(engine: Engine, prompts: Sequence[np.ndarray], **named: Any) -> list[dict[str, Any]]:
    """A prediction for each prompt, a source with what stands around it: {"text", "logprob"}, and "others" where
    several were asked for; `named` are options of generating."""
    if engine.writes is None:
        raise ModelError("this model was not fine-tuned to write: bothways finetune MODEL --task text2text")
    options = usual_options(engine.writes, **named)
    requests = [
        GenerationRequest(np.asarray(prompt, dtype=np.int64), options, (options.seed, number))
        for number, prompt in enumerate(prompts)
    ]
    return [_prediction(one) for one in generate(engine, requests)]


def _prediction(one: Generation) -> dict[str, Any]:
    """The text, its log-probability in nats, and others where several were asked for."""
    others = {"others": [other.text for other in one.others]} if one.others else {}
    return {"text": one.text, "logprob": round(one.logprob, 4), **others}
