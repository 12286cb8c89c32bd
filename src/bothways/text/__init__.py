"""Strings to tokens and back: normalise, train, extend and load tokenizers."""

from bothways.text.extending import extend_tokenizer
from bothways.text.tokenizer import Tokenizer
from bothways.text.training import train_tokenizer
from bothways.text.vocabulary_transfer import old_tokens

__all__ = ["Tokenizer", "extend_tokenizer", "old_tokens", "train_tokenizer"]
