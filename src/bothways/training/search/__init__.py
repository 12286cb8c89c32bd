"""Which optimiser, rate, batch and schedule for a text, a machine and hours: short runs, the better half longer."""

from bothways.training.search.config import SearchConfig as SearchConfig
from bothways.training.search.run import search as search
