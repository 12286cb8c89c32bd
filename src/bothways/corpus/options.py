"""What a preparation is made of, as a record that can be written down and hashed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Literal

from pydantic import Field

from bothways.config import Frozen
from bothways.errors import UsageError


class PrepareOptions(Frozen):
    """How documents become shards."""

    documents: Literal["blocks", "files", "lines"] = Field(
        default="blocks", description="What a document is in plain text: a block between blank lines, a file or a line."
    )
    fields: tuple[str, ...] = Field(
        default=("text",),
        min_length=1,
        description="A field that holds text in jsonl, csv, tsv and parquet; several are joined by a line end.",
    )
    kind: Literal["bpe", "wordpiece"] = Field(
        default="bpe", description="The tokenizer to train: byte-level BPE or WordPiece."
    )
    vocabulary: int = Field(default=8192, ge=512, description="How many tokens it may have.")
    sample: int = Field(default=64 << 20, gt=0, description="Bytes of text it is trained on at most.")
    tokenizer: Path | None = Field(
        default=None,
        description="Take this one instead: tokenizer.json, vocab.txt, a run, a model's folder or hub name.",
    )
    extend: int | None = Field(
        default=None, ge=1, description="Tokens to add to that tokenizer, as this text has them."
    )
    validation: float = Field(
        default=0.02, gt=0, lt=1, description="Share of the documents held out, by a hash of their text."
    )
    exclude: tuple[Path, ...] = Field(
        default=(), description="Evaluation items: documents that contain one are left out."
    )
    skip_bad: bool = Field(default=False, description="Leave out and count what does not parse, instead of stopping.")
    words: Literal["spaces", "jieba"] = Field(
        default="spaces", description="Where words begin: by the shape of the text, or for Chinese by jieba."
    )
    balance: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Power of their sizes by which languages stand (XLM: 0.7): small ones gain; left out: 1.",
    )


def with_tokenizer(options: PrepareOptions) -> PrepareOptions:
    """With the folder or file of the tokenizer that is named; a name of the hub is fetched.

    Raises:
        ModelError: there is none.
        UsageError: tokens are to be added to none.
    """
    if options.tokenizer is None and options.extend is not None:
        raise UsageError("extend adds to a tokenizer: name it, --tokenizer MODEL")
    if options.tokenizer is None or options.tokenizer.exists():
        return options
    found = import_module("bothways.model").local(options.tokenizer)  # which takes seconds to import
    return options.model_copy(update={"tokenizer": found})
