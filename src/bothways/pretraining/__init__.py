"""Pretraining as a whole: shards and an objective in, a run folder with a model that anyone can load out."""

from bothways.pretraining.config import PretrainConfig as PretrainConfig
from bothways.pretraining.run import pretrain as pretrain
