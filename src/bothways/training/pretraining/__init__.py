"""Pretraining as a whole: shards and an objective in, a run folder with a model that anyone can load out."""

from bothways.training.pretraining.config import PretrainConfig as PretrainConfig
from bothways.training.pretraining.run import pretrain as pretrain
