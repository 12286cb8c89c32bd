"""One Transformer: config, embeddings, attention, block, backbone, heads, and the Hugging Face layout."""

from bothways.model.abilities import Abilities as Abilities
from bothways.model.abilities import TaskHead as TaskHead
from bothways.model.backbone import Backbone as Backbone
from bothways.model.cache import Cache as Cache
from bothways.model.config import SIZES as SIZES
from bothways.model.config import ModelConfig as ModelConfig
from bothways.model.config import preset as preset
from bothways.model.huggingface.architectures import architecture as architecture
from bothways.model.huggingface.card import Card as Card
from bothways.model.huggingface.families import with_word_head as with_word_head
from bothways.model.huggingface.folders import from_hugging_face as from_hugging_face
from bothways.model.huggingface.folders import planned as planned
from bothways.model.huggingface.folders import read_abilities as read_abilities
from bothways.model.huggingface.folders import read_body as read_body
from bothways.model.huggingface.folders import read_saved as read_saved
from bothways.model.huggingface.folders import save_faces as save_faces
from bothways.model.huggingface.hub import local as local
from bothways.model.huggingface.sentence_modules import SentenceModules as SentenceModules
from bothways.model.huggingface.sentence_modules import read_sentence_modules as read_sentence_modules
from bothways.model.model import Model as Model
from bothways.model.model import PartFactory as PartFactory
