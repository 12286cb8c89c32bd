"""One Transformer: config, embeddings, attention, block, backbone, heads, and the Hugging Face layout."""

from bothways.model.backbone import Backbone as Backbone
from bothways.model.cache import Cache as Cache
from bothways.model.config import SIZES as SIZES
from bothways.model.config import ModelConfig as ModelConfig
from bothways.model.config import preset as preset
from bothways.model.model import Model as Model
from bothways.model.model import PartFactory as PartFactory
