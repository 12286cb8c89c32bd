"""Word vectors by CBOW over an embedding bag, outside the Transformer: trained on shards, saved as word2vec does."""

from bothways.word_vectors.store import WordVectors
from bothways.word_vectors.training import CbowConfig, CbowResult, Losses, train_cbow

__all__ = ["CbowConfig", "CbowResult", "Losses", "WordVectors", "train_cbow"]
