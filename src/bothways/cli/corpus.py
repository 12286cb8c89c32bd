"""Commands about text: make shards of it, check them, look at rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bothways.cli.options import ConfigFile, Settings, configured, from_record, repeated
from bothways.cli.show import Json, load_torch, print_json, room_for
from bothways.files import write_text
from bothways.terminal import command, doing, draw, say

if TYPE_CHECKING:
    from bothways.corpus.manifest import Manifest

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="Files or folders of txt, jsonl, csv, tsv (also .gz, .zst) or parquet; or python-docs, the docstrings of "
        "this Python, for a first try; or python-code, its functions beside what is said of them. SOURCE=3 has its "
        "documents stand three times; en=SOURCE says their language.",
        default_factory=list,
        show_default=False,
    ),
]
Pairs = Annotated[
    list[str],
    repeated(
        about="A file of pairs, en-fr=FILE: jsonl, csv or parquet with fields en and fr, or tsv with two columns; "
        "en:english-fr:french=FILE names other fields"
    ),
]
Shards = Annotated[Path, typer.Argument(help="A folder that prepare made.")]


@from_record(
    "bothways.corpus:PrepareOptions",
    *("documents", "vocabulary", "tokenizer", "exclude", "skip_bad"),
)
def prepare(
    context: typer.Context,
    *,
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    sources: Sources,
    pairs: Pairs,
    settings: Settings,
    config: ConfigFile = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another preparation.")] = False,
    json: Json = False,
    **given: Any,
) -> None:
    """Turn text into shards: a tokenizer and two streams, to train on and to hold out.

    Exact duplicates are dropped, no document is in both streams, and the same text gives the same fingerprint.
    """
    _report("loading torch")
    from bothways.corpus import PrepareOptions
    from bothways.corpus import prepare as make

    example = "prepare my-text/ --out shards"
    options = configured(PrepareOptions, given, file=config, settings=settings, example=example)
    manifest = make(sources, pairs=pairs, out=out, options=options, overwrite=overwrite, report=_report)
    if json:
        return print_json({"fingerprint": manifest.fingerprint, **manifest.model_dump(mode="json")})
    _show_manifest(manifest)
    say(f"\nNext: {command('show-rows', out)}\n      {command('pretrain', out, '--out', 'runs/first')}")
    return None


def verify(shards: Shards) -> None:
    """Read every byte of a folder of shards and compare it with what was written."""
    load_torch()
    from bothways.corpus import verify as check

    with doing("reading every byte"):
        manifest = check(shards)
    tokens = manifest.train.token_count + manifest.validation.token_count
    say(f"{shards} is whole: {tokens:,} tokens, fingerprint {manifest.fingerprint}")


def corpus_report(
    shards: Shards,
    out: Annotated[Path | None, typer.Option(help="Where to write the page.  [default: SHARDS/report.html]")] = None,
) -> None:
    """Write a page about shards: sources, duplicates, lengths, padding, how text is cut into tokens."""
    load_torch()
    from bothways.corpus import Shards as Corpus
    from bothways.corpus.page import corpus_report as render

    corpus, page = Corpus.open(shards), out or shards / "report.html"
    room_for(page)
    with doing("counting"):
        write_text(page, render(corpus, shards.resolve().name))
    say(f"page  {page}")


def show_rows(
    shards: Shards,
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 2,
    length: Annotated[int, typer.Option(min=2, help="Tokens in a row; a run's are 128 if not told otherwise.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="The run's seed, which draws the order.")] = 0,
) -> None:
    """Show rows as the model sees them: documents, positions, and tokens with | before every word."""
    load_torch()
    from bothways import corpus

    say(corpus.show_rows(corpus.Shards.open(shards), count=count, length=length, seed=seed))


def _report(line: str) -> None:
    say(line, error=True)


def _show_manifest(manifest: Manifest) -> None:
    """What was read, and what became of it."""
    from rich.table import Table

    sources = Table(box=None, pad_edge=False, header_style="bold")
    streams = Table(box=None, pad_edge=False, header_style="bold")
    for table, first, headings in (
        (sources, "source", ("documents", "MB", "duplicates", "excluded", "skipped")),
        (streams, "stream", ("documents", "tokens", "bytes a token", "unknown tokens")),
    ):
        table.add_column(first)
        for heading in headings:
            table.add_column(heading, justify="right")
    for source in manifest.sources:
        counts = (source.duplicates, source.excluded, source.skipped)
        name = source.name if source.weight == 1 else f"{source.name} x {source.weight:g}"
        name += f" ({'-'.join(source.languages)})" if source.languages else ""
        sources.add_row(name, f"{source.documents:,}", f"{source.bytes / 1e6:.1f}", *(f"{count:,}" for count in counts))
    for name, split in (("train", manifest.train), ("validation", manifest.validation)):
        ratio = f"{split.bytes_per_token:.2f}"
        streams.add_row(name, f"{split.documents:,}", f"{split.token_count:,}", ratio, f"{split.unknown:,}")
    draw(sources, "", streams)
    say(f"\nfingerprint {manifest.fingerprint}")
