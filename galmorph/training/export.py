"""From a training checkpoint to a model file, and heads added to one."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from galmorph.encoders.fused import ProjectionHead
from galmorph.encoders.registry import create_encoder
from galmorph.errors import TrainingError, WeightsError
from galmorph.heads import Head
from galmorph.model import Model, read_model, write_model
from galmorph.pipeline import load_model
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.quantities import Array
from galmorph.training.checkpoint import CHECKPOINT, get_kept, load_checkpoint
from galmorph.training.recipe import Recipe, recipe_from_dict
from galmorph.typicality import Typicality
from galmorph.weights.verify import update_sidecar


def build_model(checkpoint: str | Path, *, name: str, crop: float | None = None) -> Model:
    """Make a model, without heads, of a checkpoint; ``crop`` is of a user's frame."""
    path = Path(checkpoint)
    state = load_checkpoint(path)
    try:
        run = json.loads(state["fingerprint"])
        recipe = run["recipe"]
        encoder = create_encoder(recipe["architecture"])
        encoder.load_state_dict(get_kept(state, "encoder"))
        size = int(encoder.img_size)  # type: ignore[arg-type]
    except (KeyError, RuntimeError, ValueError) as error:
        raise TrainingError(f"{path}: not a checkpoint of galmorph pretrain ({error})") from error
    if crop is None:
        crop = recipe.get("frame", Recipe.frame) * recipe.get("eval_field", Recipe.eval_field)
    preprocessing = Preprocessing(
        img_size=size, crop=crop, mean=tuple(recipe["mean"]), std=tuple(recipe["std"])
    )
    return Model(
        name,
        recipe["architecture"],
        encoder.eval().requires_grad_(False),
        preprocessing,
        provenance={"pretraining": {**run, "step": state["step"]}},
    )


def check_replaceable(path: str | Path, run: Path) -> None:
    """Refuse, before a training, to end with a model in place of one with heads."""
    there = _read_there(path)
    if there is None or not there.heads:
        return
    if (run / CHECKPOINT).exists():
        state = load_checkpoint(run)
        began = json.loads(state["fingerprint"])
        if state["step"] >= recipe_from_dict(began["recipe"]).count_steps(began["images"]):
            return
    raise _explain_heads(path, there)


def carry_heads(model: Model, path: str | Path) -> Model:
    """The model with heads and typicality of the file that it is to replace, if they fit."""
    there = _read_there(path)
    if there is None:
        return model
    if _has_weights(there, model.encoder.state_dict()):
        crop = there.preprocessing.crop  # what a head without a field of its own has looked at
        heads = {
            name: dataclasses.replace(head, crop=crop)
            if head.crop is None and "fov" not in head.notes
            else head
            for name, head in there.heads.items()
        }
        same = there.preprocessing == model.preprocessing
        typicality = there.typicality if same else None
        return dataclasses.replace(model, heads=heads, typicality=typicality)
    if there.heads:
        raise _explain_heads(path, there)
    return model


def _read_there(path: str | Path) -> Model | None:
    try:
        return read_model(path)
    except WeightsError:  # nothing there, or no model
        return None


def _explain_heads(path: str | Path, there: Model) -> TrainingError:
    return TrainingError(
        f"{path}: holds the heads {', '.join(there.heads)} of another encoder than the one that "
        "would take its place, and they would be lost: move this file to another place, or (with "
        "--export) name another one"
    )


def load_init(origin: str, *, architecture: str) -> dict[str, Any]:
    """Load weights to start a new run from: of a run or checkpoint, or a model by name or file."""
    if origin.endswith(".pt") or Path(origin).is_dir():
        state = load_checkpoint(Path(origin))
        recipe = json.loads(state["fingerprint"])["recipe"]
        there, normalization = recipe["architecture"], (recipe["mean"], recipe["std"])
        found: dict[str, Any] = {p: get_kept(state, p) for p in ("encoder", "projection")}
    elif origin.endswith(".onnx"):
        raise TrainingError(
            f"{origin}: an ONNX file cannot be trained; give its model by name, or the "
            ".safetensors file that it was made of"
        )
    else:
        model = load_model(origin)
        there, found = model.architecture, {"encoder": model.encoder.state_dict()}
        normalization = (model.preprocessing.mean, model.preprocessing.std)
    if there != architecture:
        raise TrainingError(f"{origin} is of {there}, and the recipe trains {architecture}")
    return {**found, "normalization": tuple(map(tuple, normalization))}


def load_projection(checkpoint: str | Path, *, model: Model) -> ProjectionHead:
    """Load the projection head of the checkpoint that a model was made of, if it was trained."""
    state = load_checkpoint(Path(checkpoint))
    if not recipe_from_dict(json.loads(state["fingerprint"])["recipe"]).trains_projection:
        raise TrainingError(
            f"{checkpoint}: its recipe does not train the projection head (nt_xent_weight and "
            "sup_con_weight are 0), and a figure of it would say nothing: leave out --checkpoint"
        )
    head = ProjectionHead(model.num_features)
    try:
        head.load_state_dict(get_kept(state, "projection"))
    except (KeyError, RuntimeError) as error:
        raise TrainingError(f"{checkpoint}: holds no projection head ({error})") from error
    if not _is_origin(state, model):
        raise TrainingError(
            f"{checkpoint}: its encoder is not that of the model {model.name!r}, whose embeddings "
            "its projection head does not fit; give the checkpoint that the model was made of, or "
            "the model that `galmorph pretrain -o RUN --export FILE` makes of this one"
        )
    return head.eval().requires_grad_(False)


def _is_origin(state: Mapping[str, Any], model: Model) -> bool:
    """Whether a model was made of a checkpoint: by weights; an ONNX file names run and step."""
    if model.backend == "onnx":
        run = {**json.loads(state["fingerprint"]), "step": state["step"]}
        return bool(model.provenance.get("pretraining") == run)
    return _has_weights(model, get_kept(dict(state), "encoder"))


def _has_weights(model: Model, kept: Mapping[str, torch.Tensor]) -> bool:
    own = model.encoder.state_dict()
    return kept.keys() == own.keys() and all(_is_stored(kept[key], own[key]) for key in kept)


def _is_stored(kept: torch.Tensor, own: torch.Tensor) -> bool:
    """Whether a tensor of a checkpoint is that of a model file, in float32 or in float16."""
    own = own.cpu()
    if torch.equal(kept, own):
        return True
    return kept.is_floating_point() and torch.equal(kept.half().to(own.dtype), own)


def compute_projection(head: ProjectionHead, embeddings: Array) -> Array:
    """Projections of embeddings, (n, num_features) to (n, 128), unit length."""
    with torch.inference_mode():
        projected: Array = head(torch.from_numpy(embeddings)).numpy()
    return projected


def is_half(path: str | Path) -> bool:
    """Whether a model file stores its encoder in float16."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        encoder = [key for key in file.keys() if key.startswith("encoder.")]  # noqa: SIM118
        return any(file.get_slice(key).get_dtype() == "F16" for key in encoder)


def add_to_model(
    path: str | Path,
    heads: Mapping[str, Head],
    *,
    typicality: Typicality | None = None,
    scaled_frame: int | None = None,
) -> Model:
    """Write heads into a model file, in place of those of the same names; the new model."""
    model = read_model(path)
    model = dataclasses.replace(
        model,
        heads={**model.heads, **heads},
        typicality=typicality if typicality is not None else model.typicality,
        preprocessing=dataclasses.replace(
            model.preprocessing, scaled_frame=scaled_frame or model.preprocessing.scaled_frame
        ),
    )
    write_model(path, model, half=is_half(path))
    update_sidecar(Path(path))
    return model
