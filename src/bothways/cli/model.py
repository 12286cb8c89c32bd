"""Commands that use a trained model."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from bothways.cli.show import Json, load, load_torch, print_json
from bothways.terminal import bold, dim, draw, say

if TYPE_CHECKING:
    from bothways.inference.decoding.options import Options


def models(
    family: Annotated[str | None, typer.Argument(help="A model_type: what its config.json may say.")] = None,
    json: Json = False,
) -> None:
    """List the families of published models that are read and written: which models, what for, what is refused."""
    from bothways.errors import unknown

    load_torch()
    from bothways.model.huggingface.families import describe

    found = {record["model_type"]: record for record in describe()}
    if family is not None and family not in found:
        raise unknown("family", family, found)
    if json:
        return print_json([record for record in found.values() if family in (None, record["model_type"])])
    if family is not None:
        return _show_family(found[family])
    table = Table.grid(padding=(0, 2))
    for name, record in found.items():
        table.add_row(bold(name), record["known"])
        table.add_row("", dim(", ".join(record["classes"])))
    draw(table, wrap=True)
    say("\nOne of them: bothways models bert. Any other model_type is refused, and weights that are no safetensors.")
    return None


def _show_family(record: dict[str, Any]) -> None:
    say(f"{record['model_type']}: {record['known']}\n")
    for use, name in record["classes"].items():
        say(f"  {use:17} {name}")
    say("\nconfig.json may say of these fields only:")
    for field, values in record["computed"].items():
        say(f"  {field:32} {', '.join(map(str, values))}")
    say("Everything else that would change a prediction is read, or refused by its name.")


Run = Annotated[Path, typer.Argument(help="A run's folder, a Hugging Face folder, or a name of its hub.")]
Texts = Annotated[list[str], typer.Argument(metavar="TEXT", help="One or more texts, each in quotes.")]


def fill(
    run: Run,
    texts: Texts,
    top_k: Annotated[int, typer.Option(min=1, help="How many guesses for every [MASK].")] = 5,
    json: Json = False,
) -> None:
    """Guess the words that [MASK] hides."""
    answers = load(run).fill(texts, top_k=top_k)
    if json:
        return print_json([{"text": text, "masks": masks} for text, masks in zip(texts, answers, strict=True)])
    for masks in answers:
        for guesses in masks:
            for guess in guesses:
                say(f"{guess.probability:6.1%}  {guess.token.strip():12s}  {guess.text}")
            say()
    return None


Steps = Annotated[
    int | None, typer.Option(min=1, help="By unmasking: in how many passes all is said; left out, one token a pass.")
]
Order = Annotated[
    Literal["confidence", "random"],
    typer.Option(help="By unmasking: the most confident places first, or places at random."),
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed writes the same text.")]


def infill(
    run: Run,
    texts: Texts,
    length: Annotated[
        int | None, typer.Option(min=1, help="Of the gap, in tokens; left out, the best is found.")
    ] = None,
    longest: Annotated[int, typer.Option(min=1, help="Gaps of 1 token to so many are tried.")] = 8,
    steps: Steps = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token every time.")] = 0.0,
    order: Order = "confidence",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Write out what is missing in a text: one [GAP] of any length, and a token for every [MASK]."""
    model = load(run)
    written = model.infill(
        texts, length=length, longest=longest, steps=steps, temperature=temperature, order=order, seed=seed
    )
    if json:
        return print_json([{"text": text, "written": whole} for text, whole in zip(texts, written, strict=True)])
    say("\n\n".join(written))
    return None


def generate(
    run: Run,
    texts: Texts,
    max_new_tokens: Annotated[int, typer.Option(min=0, help="How many tokens to add at most.")] = 40,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token every time.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(min=1, help="Choose among the so many likeliest tokens.")] = None,
    top_p: Annotated[
        float, typer.Option(help="Choose among the likeliest tokens that hold this share together.")
    ] = 1.0,
    seed: Seed = 0,
    num_beams: Annotated[
        int | None, typer.Option(min=1, help="Sample nothing; look for the likeliest text with so many candidates.")
    ] = None,
    length_penalty: Annotated[float, typer.Option(help="Of beams: 0 is for short texts, 1 for long ones.")] = 0.6,
    no_repeat_ngram_size: Annotated[
        int | None, typer.Option(min=1, help="Write no run of so many tokens twice.")
    ] = None,
    eos_token_id: Annotated[
        int | None, typer.Option(min=0, help="The token that ends a text; left out, those that the model's files name.")
    ] = None,
    steps: Steps = None,
    order: Order = "confidence",
    special_tokens: Annotated[
        bool,
        typer.Option("--special-tokens", help="Names of special tokens in a text are those tokens: of chat templates."),
    ] = False,
    json: Json = False,
) -> None:
    """Continue texts, in the way that the objective taught; one text on a terminal is shown while it grows."""
    model = load(run)
    options: Options = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
        "num_beams": num_beams,
        "length_penalty": length_penalty,
        "no_repeat_ngram_size": no_repeat_ngram_size,
        "eos_token_id": eos_token_id,
        "steps": steps,
        "order": order,
        "special_tokens": special_tokens,
    }
    if len(texts) == 1 and not json and sys.stdout.isatty() and "backward" not in model.engine.abilities.decoding:
        show_parts(itertools.chain(texts, model.stream(texts[0], **options)))
        return None
    written = model.generate(texts, **options)
    if json:
        return print_json([{"prompt": text, **asdict(one)} for text, one in zip(texts, written, strict=True)])
    say("\n\n".join(one.full_text for one in written))
    return None


def chat(
    run: Run,
    question: Annotated[str | None, typer.Argument(help="Left out, every line of the input is one.")] = None,
    system: Annotated[str | None, typer.Option(help="What the model is told before.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Of an answer, at most.")] = 512,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token every time.")] = 1.0,
    seed: Seed = 0,
) -> None:
    """Talk with a model that has a chat template: one question and answer, or until the input ends."""
    model = load(run)
    messages = [] if system is None else [{"role": "system", "content": system}]
    for asked in sys.stdin if question is None else [question]:
        messages.append({"role": "user", "content": asked.rstrip("\n")})
        parts = model.stream_chat(messages, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
        messages.append({"role": "assistant", "content": show_parts(parts)})


def show_parts(parts: Iterable[str]) -> str:
    """Shows a text while it is generated, and returns it."""
    shown = ""
    for part in parts:
        typer.echo(part, nl=False)
        sys.stdout.flush()
        shown += part
    typer.echo()
    return shown


def score(
    run: Run,
    texts: Texts,
    how: Annotated[
        Literal["causal", "pseudo"],
        typer.Option(help="Each token after those before it, or each hidden among all others."),
    ] = "causal",
    within_word: Annotated[
        bool, typer.Option("--within-word", help="pseudo: hide the rest of the word with its token.")
    ] = False,
    json: Json = False,
) -> None:
    """How probable texts are: the sum of the log-probabilities of their tokens, in nats."""
    nats = load(run).score(texts, how=how, within_word=within_word)
    if json:
        return print_json([{"text": text, "nats": float(sum_)} for text, sum_ in zip(texts, nats, strict=True)])
    for text, sum_ in zip(texts, nats, strict=True):
        say(f"{sum_:10.3f}  {text}")
    return None


def embed(run: Run, texts: Texts, json: Json = False) -> None:
    """Turn texts into vectors: --json prints them; else how alike the texts are, by the cosine."""
    import numpy as np

    vectors = load(run).embed(texts)  # [n, d]
    if json:
        return print_json(
            [{"text": text, "vector": vector.tolist()} for text, vector in zip(texts, vectors, strict=True)]
        )
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    say(f"{len(texts)} vector{'s' * (len(texts) > 1)} of {vectors.shape[1]} numbers; their cosines:")
    for text, row in zip(texts, units @ units.T, strict=True):
        say(f"{' '.join(f'{cosine:6.3f}' for cosine in row)}  {text}")
    return None


def detect(run: Run, texts: Texts, json: Json = False) -> None:
    """Tell which words of a text do not belong where they stand."""
    verdicts = load(run).detect(texts)
    if json:
        return print_json([{"text": text, "words": words} for text, words in zip(texts, verdicts, strict=True)])
    for words in verdicts:
        for verdict in words:
            say(f"{verdict.replaced:6.1%}  {verdict.word}")
        say()
    return None
