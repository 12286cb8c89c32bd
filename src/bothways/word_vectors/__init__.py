"""Word vectors by CBOW over an embedding bag, outside the Transformer: trained on shards, saved as word2vec does."""

from bothways.word_vectors.store import WordVectors
from bothways.word_vectors.training import CbowConfig, Losses, Trained, train_cbow

__all__ = ["CbowConfig", "Losses", "Trained", "WordVectors", "train_cbow"]
