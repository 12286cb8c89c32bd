"""Using a trained model: fill in words, continue texts, score them, turn them into vectors."""

from bothways.inference.fill import Guess as Guess
from bothways.inference.loading import Loaded as Loaded
from bothways.inference.loading import load as load
