"""Damaged models, heads, manifests and recipes: in their JSON, their arrays or their bytes."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mutants import mutate
from table_mutants import mutate_text

ODD_VALUES = (
    None, True, 0, -1, 1, 20000, 10**400, 0.5, 1e308, 1e-320, float("nan"), float("inf"), "",
    "auto", "x" * 70_000, "../..", "\ud800", [], {}, [[]], [None], [0.0, 1.0], {"value": None},
    {"a": {"b": []}},
)  # fmt: skip


def list_places(data: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value of a JSON document."""
    if not isinstance(data, dict | list):
        return [place]
    items = list(data.items() if isinstance(data, dict) else enumerate(data))
    return [place, *(p for key, value in items for p in list_places(value, (*place, key)))]


def mutate_json(data: Any, rng: random.Random) -> Any:
    """Put something odd in one place, or take it out."""
    changed = copy.deepcopy(data)
    place = rng.choice(list_places(changed))
    if not place:
        return rng.choice(ODD_VALUES)
    parent = changed
    for key in place[:-1]:
        parent = parent[key]
    if rng.random() < 0.2:
        del parent[place[-1]]
    else:
        parent[place[-1]] = rng.choice(ODD_VALUES)
    return changed


def mutate_array(array: Any, rng: random.Random) -> Any:
    """Another value, shape or type."""
    ways: tuple[Callable[[], Any], ...] = (
        lambda: _put(array, rng.choice((np.nan, np.inf, -np.inf, 60000.0, -1.0)), rng),
        lambda: array.reshape(-1),
        lambda: array[:0],
        lambda: array[..., :-1] if array.ndim else array,
        lambda: array.astype(np.float64) * 1e300,
        lambda: array.astype(np.int64),
        lambda: array.astype(bool),
        lambda: np.full(array.shape, 3e38, dtype=np.float32),
    )
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(rng.choice(ways)())


def _put(array: Any, value: float, rng: random.Random) -> Any:
    changed = array.copy() if array.dtype.kind == "f" else array.astype(np.float32)
    changed.reshape(-1)[rng.randrange(changed.size)] = value
    return changed


def mutate_stored(data: bytes, rng: random.Random) -> bytes:
    """Damage a safetensors file of galmorph's: metadata, an array, or bytes."""
    from safetensors.numpy import load, save

    way = rng.random()
    if way < 0.2:
        return mutate(data, rng)
    tensors = load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = json.loads(header["__metadata__"]["galmorph"])
    if way < 0.75:
        metadata = mutate_json(metadata, rng)
    else:
        name = rng.choice(sorted(tensors))
        if rng.random() < 0.2:
            del tensors[name]
        else:
            tensors[name] = mutate_array(tensors[name], rng)
    return save(tensors, metadata={"galmorph": json.dumps(metadata)})


def mutate_manifest(text: bytes, rng: random.Random) -> bytes:
    """Damage a manifest in one value, or in its bytes."""
    if rng.random() < 0.2:
        return mutate(text, rng)
    return json.dumps(mutate_json(json.loads(text), rng)).encode()


def make_stored(folder: Path) -> dict[str, tuple[bytes, Callable[[bytes, random.Random], bytes]]]:
    """A whole file of each kind, by the end of its name, and the way to break it."""
    from inference_model import make_model

    from galmorph.inference.onnx_file import write_onnx
    from galmorph.model import write_heads, write_model
    from galmorph.training import recipe
    from galmorph.weights.manifest import manifest_path

    model = make_model()
    write_model(folder / "model.safetensors", model)
    write_heads(folder / "head.safetensors", model.heads, model="m", signature=(0.5,) * 16)
    write_onnx(folder / "model.onnx", model)
    names = ("model.safetensors", "head.safetensors", "model.onnx")
    model_data, head, graph = ((folder / name).read_bytes() for name in names)
    text = Path(recipe.__file__).parent.joinpath("recipes", "contrastive.toml").read_bytes()
    return {
        "model.safetensors": (model_data, mutate_stored),
        "head.safetensors": (head, mutate_stored),
        "model.onnx": (graph, mutate),
        "manifest.json": (manifest_path().read_bytes(), mutate_manifest),
        "recipe.toml": (text, mutate_text),
    }
