"""A few described digital patients, and towers that were not trained, for tests of the joint
embedding.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch

import cards
from veridical.models.joint_embedding import JointEmbedding
from veridical.training.checkpoints import write_tensors
from veridical.training.embedding_data import EmbeddingCourse, EmbeddingData

NET = {"features": 32, "size": 4}


@cache
def folder() -> Path:
    """A folder that is removed at the end."""
    made = Path(tempfile.mkdtemp(prefix="veridical-described-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def data(**more: object) -> EmbeddingData:
    """Two heads of four patients, one of which is held out."""
    given = {"heads": 2, "validate_on": 1, "batch": 4, "cache": str(folder())} | more
    return EmbeddingData(**given)  # type: ignore[arg-type]


def course(validation: bool = False) -> EmbeddingCourse:
    return data().course(JointEmbedding, NET, 0, validation)


@cache
def weights(null: float = 0.0) -> str:
    """Towers as they are made, in whose card unrelated ones are as alike as `null`."""
    return towers(folder() / f"towers-{null:g}.safetensors", null)


def towers(path: Path, null: float = 0.0) -> str:
    """Write such towers."""
    torch.manual_seed(0)
    net = JointEmbedding.build(NET)
    write_tensors(path, net.state_dict(), {})
    chance = np.linspace(null - 1e-3, null, 99).tolist()
    card = {
        "model": "joint-embedding",
        "net": NET,
        "null": dict.fromkeys(("text", "image", "genes"), chance),
    }
    path.with_suffix(".json").write_text(json.dumps(cards.complete(card)), encoding="utf-8")
    return str(path)
