"""Using a trained model: fill in words and gaps, continue, score, embed texts, find replaced words."""

from bothways.inference.decoding.options import Generation as Generation
from bothways.inference.decoding.options import GenerationOptions as GenerationOptions
from bothways.inference.detect import Verdict as Verdict
from bothways.inference.fill import Guess as Guess
from bothways.inference.language_model import LanguageModel as LanguageModel
from bothways.inference.loading import load as load
