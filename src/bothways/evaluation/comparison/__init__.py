"""Which objective should I use for my text and my task? The same compute for each, and the same metrics after it."""

from bothways.evaluation.comparison.compare import compare as compare
from bothways.evaluation.comparison.config import CompareConfig as CompareConfig
