"""Models of the Hugging Face hub by their names: fetched once, kept in its cache, never run."""

from __future__ import annotations

import re
from pathlib import Path

from bothways.errors import ModelError
from bothways.gguf import SUFFIX
from bothways.sums import LOADED, SUMS

WANTED = (*LOADED, SUMS)
"""No pickles and no code: what Bothways would not read is not fetched."""
TWICE = ("consolidated*.safetensors", "original/*")
"""Weights that stand there once more, in their makers' own names (Mistral's, Meta's)."""


def local(named: str | Path) -> Path:
    """A folder or a GGUF file as it is; a name of the hub, "owner/name" or "name", as the folder of its cache that
    holds it.

    HF_HOME says where the cache is, HF_HUB_OFFLINE=1 that nothing is to be fetched, HF_TOKEN who asks.

    Raises:
        ModelError: there is no such folder, and the hub does not give it.
    """
    folder = Path(named)
    if folder.exists() or folder.suffix == SUFFIX or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", str(named)):
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, HTTPError  # type: ignore[attr-defined]

    try:
        return Path(snapshot_download(str(named), allow_patterns=[*WANTED], ignore_patterns=[*TWICE]))
    # HTTPError: of the connection too, which are no OSErrors; RuntimeError: of hf_xet, which fetches large files
    except (HTTPError, HFValidationError, OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{named}: there is no such folder here, and the Hugging Face hub did not give a model of that name "
            f"({reason}). Check the path, or the name and the connection."
        ) from None
