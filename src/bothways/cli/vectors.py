"""Commands about word vectors: train them on shards, look at the words nearest to a word."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bothways.cli.corpus import Shards
from bothways.cli.options import ConfigFile, Settings, configured, from_record, repeated
from bothways.cli.show import Json, print_json, room_for
from bothways.terminal import command, say

if TYPE_CHECKING:
    from bothways.word_vectors import CbowResult


@from_record("bothways.word_vectors:CbowConfig", "dim", "window", "min_count", "epochs", "lowercase")
def word_vectors(
    context: typer.Context,
    *,
    shards: Shards,
    out: Annotated[Path, typer.Option(help="The file to write, in word2vec's text format.")],
    settings: Settings,
    config: ConfigFile = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    json: Json = False,
    **given: Any,
) -> None:
    """Train a vector a word by CBOW (word2vec), without a Transformer, and save what gensim reads."""
    if not json:
        say("loading torch")
    from bothways.training.display import Display
    from bothways.word_vectors import CbowConfig, train_cbow
    from bothways.word_vectors.store import refuse_existing

    example = "word-vectors SHARDS --out vectors.txt"
    chosen = configured(CbowConfig, given, file=config, settings=settings, example=example)
    refuse_existing(out, overwrite=overwrite)
    room_for(out)
    if json:
        trained = train_cbow(shards, chosen)
    else:
        with Display(clock=time.monotonic) as show:
            show.say(f"reading the words of {shards}")
            trained = train_cbow(shards, chosen, show=show)
    trained.vectors.save(out, overwrite=overwrite)
    _show_trained(trained, out, json=json)


def nearest(
    vectors: Annotated[Path, typer.Argument(help="A file in word2vec's text format.")],
    words: Annotated[list[str], typer.Argument(metavar="WORD", help="One or more; near to all of them.")],
    but: Annotated[list[str], repeated(about="Far from this one, as in king woman --but man")],
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    json: Json = False,
) -> None:
    """Show the words nearest to a word by the cosine of their vectors."""
    from bothways.word_vectors import WordVectors

    found = WordVectors.load(vectors).nearest(*words, but=but, count=count)
    if json:
        return print_json([{"word": word, "cosine": cosine} for word, cosine in found])
    for word, cosine in found:
        say(f"{cosine:6.3f}  {word}")
    return None


def _show_trained(trained: CbowResult, out: Path, *, json: bool) -> None:
    """How many words, how good beside what knows no context, how fast, and what to try."""
    count, dim = trained.vectors.vectors.shape
    if json:
        figures = {"losses": trained.losses, "words_per_second": trained.words_per_second}
        return print_json({"out": str(out), "words": count, "dim": dim, **figures})
    if losses := trained.losses:
        say(
            f"\nheld-out loss  {losses.cbow:.3f} nats a word; without context {losses.unigram:.3f}, "
            f"untrained {losses.untrained:.3f}"
        )
    say(f"vectors        {out}: {count:,} words of {dim} numbers")
    word = trained.vectors.words[min(20, count - 1)]
    say(f"try            {command('nearest', out, *['--'] * word.startswith('-'), word)}")
    return None
