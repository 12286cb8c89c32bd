"""Strings to pieces and back: normalise, train and load tokenizers."""

from bothways.text.tokenizer import Tokenizer
from bothways.text.training import train_tokenizer

__all__ = ["Tokenizer", "train_tokenizer"]
