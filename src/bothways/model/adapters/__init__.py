"""Small learned things on a frozen model: what they are, where they sit, and how they are merged into it."""

from bothways.model.adapters.config import AdapterConfig as AdapterConfig
from bothways.model.adapters.config import PrefixConfig as PrefixConfig
from bothways.model.adapters.config import SoftPromptConfig as SoftPromptConfig
from bothways.model.adapters.config import read_adapter as read_adapter
from bothways.model.adapters.low_rank import LoraLinear as LoraLinear
from bothways.model.adapters.merging import merged as merged
from bothways.model.adapters.placing import check_fits as check_fits
from bothways.model.adapters.placing import is_added as is_added
from bothways.model.adapters.placing import learned as learned
from bothways.model.adapters.placing import place as place
from bothways.model.adapters.placing import sharing as sharing
