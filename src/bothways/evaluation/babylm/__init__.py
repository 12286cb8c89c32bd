"""BabyLM's rules on one's own text: so many words, read so often, and minimal pairs on the way."""

from bothways.evaluation.babylm.config import BabyLMConfig as BabyLMConfig
from bothways.evaluation.babylm.curve import babylm as babylm
