"""Labels by patterns: files asked about with a prompt, and PET, which trains by patterns and distils a classifier."""

from bothways.training.prompting.config import PetConfig as PetConfig
from bothways.training.prompting.config import PromptConfig as PromptConfig
from bothways.training.prompting.file import find_words as find_words
from bothways.training.prompting.file import prompt_file as prompt_file
from bothways.training.prompting.run import pet as pet
