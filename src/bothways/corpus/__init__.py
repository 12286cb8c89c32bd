"""Files to clean documents, to shards of tokens, to rows."""

from bothways.corpus.bidirectional_ngrams import Statistics
from bothways.corpus.options import PrepareOptions
from bothways.corpus.prepare import prepare
from bothways.corpus.rows import Rows
from bothways.corpus.shards import Shards, Stream, verify
from bothways.corpus.show import show_rows

__all__ = ["PrepareOptions", "Rows", "Shards", "Statistics", "Stream", "prepare", "show_rows", "verify"]
