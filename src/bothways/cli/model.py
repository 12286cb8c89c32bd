"""Commands that use a trained model."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from bothways.cli.options import FAMILY, ConfigFile, Device, Settings, TaskName, configured, from_record
from bothways.cli.show import Json, load, load_torch, print_each, print_json
from bothways.cli.texts import Asked, TextFile, Texts, asked
from bothways.terminal import bold, dim, draw, say

if TYPE_CHECKING:
    import numpy as np

    from bothways.inference.decoding.options import Generation


COMPARED = 20  # texts: more cosines fill no line


def models(
    family: Annotated[
        str | None, typer.Argument(help="A model_type: what its config.json may say.", autocompletion=FAMILY)
    ] = None,
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


Run = Annotated[Path, typer.Argument(help="A run's folder, a Hugging Face folder, a name of its hub, or a GGUF file.")]


def fill(
    run: Run,
    texts: Texts,
    file: TextFile = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many guesses for every [MASK].")] = 5,
    device: Device = None,
    json: Json = False,
) -> None:
    """Guess the words that [MASK] hides."""
    given = asked(texts, file)
    model = load(run, device=device)
    found = given.each(lambda some, _: model.fill(some, top_k=top_k))
    if json:
        return print_each({"text": text, "masks": masks} for text, masks in found)
    for _, masks in found:
        for guesses in masks:
            for guess in guesses:
                say(f"{guess.probability:6.1%}  {guess.token.strip():12s}  {guess.text}")
            say()
    return None


def infill(
    run: Run,
    texts: Texts,
    file: TextFile = None,
    length: Annotated[
        int | None, typer.Option(min=1, help="Of the gap, in tokens; left out, the best is found.")
    ] = None,
    longest: Annotated[int, typer.Option(min=1, help="Gaps of 1 token to so many are tried.")] = 8,
    steps: Annotated[
        int | None, typer.Option(min=1, help="In how many passes all is predicted; left out, one token a pass.")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token every time.")] = 0.0,
    order: Annotated[
        Literal["confidence", "random"], typer.Option(help="The most confident places first, or places at random.")
    ] = "confidence",
    seed: Annotated[int, typer.Option(min=0, help="The same seed writes the same text.")] = 0,
    device: Device = None,
    json: Json = False,
) -> None:
    """Write out what is missing in a text: one [GAP] of any length, and a token for every [MASK]."""
    given = asked(texts, file)
    engine = load(run, device=device).engine
    from bothways.inference.decoding.options import Unmasking
    from bothways.inference.decoding.sampling import Sampling
    from bothways.inference.infill import Gap
    from bothways.inference.infill import infill as write

    gap = Gap(longest) if length is None else Gap(length, shortest=length)
    way = Unmasking(Sampling(temperature), steps, order)
    written = given.each(lambda some, before: write(engine, some, gap=gap, unmasking=way, seed=seed, before=before))
    if json:
        return print_each({"text": text, "written": whole} for text, whole in written)
    return _show_texts(whole for _, whole in written)


@from_record(
    "bothways.inference.decoding.options:GenerationOptions",
    *("max_new_tokens", "temperature", "top_k", "top_p", "seed", "num_beams"),
)
def generate(
    context: typer.Context,
    *,
    run: Run,
    texts: Texts,
    file: TextFile = None,
    settings: Settings,
    config: ConfigFile = None,
    task: TaskName = None,
    best_of: Annotated[
        int | None, typer.Option(min=1, help="Sample so many texts, and take the one that --reward finds best.")
    ] = None,
    reward: Annotated[Path | None, typer.Option(help="A run that was fine-tuned to reward.")] = None,
    device: Device = None,
    json: Json = False,
    **given: Any,
) -> None:
    """Continue texts, in the way that the objective taught; one text on a terminal is shown while it grows."""
    if best_of or reward:
        judged: dict[str, Any] = {"best_of": best_of, "reward": reward, "task": task, "device": device, "json": json}
        return _best(run, asked(texts, file), {"file": config, "settings": settings, **given}, **judged)
    prompts = asked(texts, file)
    from bothways.inference.decoding.options import GenerationOptions, GenerationRequest

    told: dict[str, Any] = {"file": config, "settings": settings, "example": "generate RUN TEXT"}
    configured(GenerationOptions, given, **told)  # what there is not is refused before a model is read
    model = load(run, device=device)
    from bothways.inference.asking import CUT, cut_sources
    from bothways.inference.decoding.generate import continues, source_room
    from bothways.inference.decoding.generate import generate as write
    from bothways.inference.writing import usual_values, writing_as

    engine = writing_as(model.engine, task)
    writes = engine.writes
    before = usual_values(writes) if writes else {}
    options = configured(GenerationOptions, given, before=before, **told)
    alone = len(texts) == 1 and not prompts.source and options.num_return_sequences == 1
    if alone and not json and sys.stdout.isatty() and "backward" not in engine.abilities.decoding:
        before_it = texts if continues(engine, options) else []
        show_parts(itertools.chain(before_it, model.stream(texts[0], options, head=task)))
        return None
    room, cut, count = source_room(engine, options), 0, 0

    def each(some: Sequence[str], before: int) -> list[Generation]:
        nonlocal cut, count
        cut, count = cut + (cut_sources(engine, some, room) if room is not None else 0), count + len(some)
        return write(engine, GenerationRequest.each(some, options, before))

    written = prompts.each(each)
    if json:
        print_each({"prompt": text, **asdict(one)} for text, one in written)
    else:
        _show_texts(every.full_text for _, one in written for every in (one, *one.others))
    if cut:
        say(CUT.format(room, cut, count), error=True)
    return None


def _best(
    run: Path,
    prompts: Asked,
    told: dict[str, Any],
    *,
    best_of: int | None,
    reward: Path | None,
    task: str | None,
    device: str | None,
    json: bool,
) -> None:
    """The best of several texts for each prompt."""
    from bothways.errors import UsageError

    if best_of is None or reward is None:
        raise UsageError("--best-of and --reward go together: expected both, as in --best-of 8 --reward runs/reward")
    model, judge = load(run, device=device), load(reward, device=device)
    from bothways.inference.best_of import rewarded
    from bothways.inference.decoding.generate import generate as write
    from bothways.inference.decoding.options import GenerationOptions, GenerationRequest
    from bothways.inference.writing import usual_values, writing_as

    engine, file, settings = writing_as(model.engine, task), told.pop("file"), told.pop("settings")
    writes = engine.writes
    before = {**(usual_values(writes) if writes else {}), "temperature": 1.0}
    options = configured(
        GenerationOptions, told, file=file, settings=settings, example="generate RUN TEXT", before=before
    )
    options = replace(options, num_return_sequences=best_of)
    chosen = prompts.each(
        lambda some, before: rewarded(some, write(engine, GenerationRequest.each(some, options, before)), judge)
    )
    if json:
        return print_each({"prompt": text, "rewards": one.rewards, **asdict(one.best)} for text, one in chosen)
    return _show_texts(one.best.full_text for _, one in chosen)


def _show_texts(texts: Iterable[str]) -> None:
    """Each as soon as it is there, an empty line between two."""
    for number, text in enumerate(texts):
        say("\n" * bool(number) + text)


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
    file: TextFile = None,
    how: Annotated[
        Literal["causal", "pseudo"],
        typer.Option(help="Each token after those before it, or each hidden among all others."),
    ] = "causal",
    within_word: Annotated[
        bool, typer.Option("--within-word", help="pseudo: hide the rest of the word with its token.")
    ] = False,
    device: Device = None,
    json: Json = False,
) -> None:
    """How probable texts are: the sum of the log-probabilities of their tokens, in nats."""
    given = asked(texts, file)
    model = load(run, device=device)
    found = given.each(lambda some, _: model.score(some, how=how, within_word=within_word).tolist())
    if json:
        return print_each({"text": text, "nats": nats} for text, nats in found)
    for text, nats in found:
        say(f"{nats:10.3f}  {text}")
    return None


def embed(run: Run, texts: Texts, file: TextFile = None, device: Device = None, json: Json = False) -> None:
    """Turn texts into vectors: --json prints them; else how alike the texts are, by the cosine."""
    given = asked(texts, file)
    model = load(run, device=device)
    found = given.each(lambda some, _: model.embed(some))
    if json:
        return print_each({"text": text, "vector": vector.tolist()} for text, vector in found)
    return _show_cosines(*zip(*found, strict=True))


def _show_cosines(texts: Sequence[str], vectors: Sequence[np.ndarray]) -> None:
    import numpy as np

    units = np.stack(vectors)  # [n, d]
    counted = f"{len(texts):,} vector{'s' * (len(texts) > 1)} of {units.shape[1]} numbers"
    if len(texts) > COMPARED:
        return say(f"{counted}: more than {COMPARED} are not compared, --json prints them")
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    say(f"{counted}; their cosines:")
    for text, row in zip(texts, units @ units.T, strict=True):
        say(f"{' '.join(f'{cosine:6.3f}' for cosine in row)}  {text}")
    return None


def detect(run: Run, texts: Texts, file: TextFile = None, device: Device = None, json: Json = False) -> None:
    """Tell which words of a text do not belong where they stand."""
    given = asked(texts, file)
    model = load(run, device=device)
    found = given.each(lambda some, _: model.detect(some))
    if json:
        return print_each({"text": text, "words": words} for text, words in found)
    for _, words in found:
        for verdict in words:
            say(f"{verdict.replaced:6.1%}  {verdict.word}")
        say()
    return None
