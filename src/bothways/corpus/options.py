"""What a preparation is made of, as a record that can be written down and hashed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PrepareOptions(BaseModel):
    """How documents become shards.

    documents   what a document is in plain text: a block between blank lines, a file, or a line
    fields      the fields that make a document in jsonl, csv, tsv and parquet, joined by a line end
    kind        the tokenizer to train: byte-level BPE or WordPiece
    vocabulary  how many tokens it may have
    sample      bytes of text it is trained on at most
    tokenizer   one to take instead: a tokenizer.json, a vocab.txt, or a folder with either
    extend      tokens to add to that tokenizer, as the text here would have them
    validation  share of the documents held out, chosen by a hash of their text
    exclude     files of evaluation items; documents that contain one are left out
    skip_bad    leave out and count what does not parse, instead of stopping
    words       where words begin: by the shape of the text, or for Chinese by jieba
    balance     languages stand with shares that go with this power of their sizes (XLM: 0.7); 1, or left out: as they
                come
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    documents: Literal["blocks", "files", "lines"] = "blocks"
    fields: tuple[str, ...] = Field(default=("text",), min_length=1)
    kind: Literal["bpe", "wordpiece"] = "bpe"
    vocabulary: int = Field(default=8192, ge=512)
    sample: int = Field(default=64 << 20, gt=0)
    tokenizer: Path | None = None
    extend: int | None = Field(default=None, ge=1)
    validation: float = Field(default=0.02, gt=0, lt=1)
    exclude: tuple[Path, ...] = ()
    skip_bad: bool = False
    words: Literal["spaces", "jieba"] = "spaces"
    balance: float | None = Field(default=None, gt=0, le=1)
