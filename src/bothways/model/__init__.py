"""One Transformer: config, embeddings, attention, block, backbone, heads, and the Hugging Face layout."""

from bothways.model.answers import Answers as Answers
from bothways.model.backbone import Backbone as Backbone
from bothways.model.cache import Cache as Cache
from bothways.model.card import Card as Card
from bothways.model.config import SIZES as SIZES
from bothways.model.config import ModelConfig as ModelConfig
from bothways.model.config import preset as preset
from bothways.model.faces import Trained as Trained
from bothways.model.faces import architecture as architecture
from bothways.model.hub import local as local
from bothways.model.hugging_face import from_hugging_face as from_hugging_face
from bothways.model.hugging_face import planned as planned
from bothways.model.hugging_face import read_body as read_body
from bothways.model.hugging_face import read_saved as read_saved
from bothways.model.hugging_face import read_trained as read_trained
from bothways.model.hugging_face import save_faces as save_faces
from bothways.model.model import Model as Model
from bothways.model.model import PartFactory as PartFactory
from bothways.model.sentence_modules import SentenceModules as SentenceModules
from bothways.model.sentence_modules import read_sentence_modules as read_sentence_modules
