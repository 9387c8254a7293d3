"""Recipes: small TOML files that say all that a pretraining run depends on."""

import dataclasses
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from galmorph.encoders.registry import list_encoders
from galmorph.errors import TrainingError
from galmorph.training.views import ViewOptions

MAX_EPOCHS = 1e6
_LOSSES = (
    *("nt_xent_weight", "vicreg_weight", "measures_weight"),
    *("sup_con_weight", "cross_entropy_weight"),
)
_COUNTS = ("frame_size", "batch_size", "views_per_image")
_POSITIVE = (
    *("frame", "frame_size", "eval_field", "batch_size"),
    *("epochs", "lr", "temperature", "sup_con_temperature"),
)
_RULES: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str], ...] = (
    (_COUNTS, lambda value: type(value) is int, "is a whole number"),
    (("symmetric",), lambda value: type(value) is bool, "is true or false"),
    (("optimizer",), ("adamw", "sgd").__contains__, "is adamw or sgd"),
    (_POSITIVE, lambda value: 0 < value < math.inf, "must be positive"),
    (("epochs",), lambda value: bool(value <= MAX_EPOCHS), f"is {MAX_EPOCHS:g} at most"),
    ((*_LOSSES, "weight_decay"), lambda value: 0 <= value < math.inf, "must be 0 or positive"),
    (("frame",), lambda value: bool(value <= 1), "is a part of each image, at most 1"),
    (_COUNTS[1:], lambda value: bool(value >= 2), "is 2 or more"),
    (("hold_out", "average", "momentum"), lambda value: 0 <= value < 1, "lies in 0 to 1"),
    (("warmup", "final_lr"), lambda value: 0 <= value <= 1, "lies in 0 to 1"),
)


@dataclass(frozen=True)
class Recipe:
    """All that a pretraining run depends on besides its data and its seed."""

    architecture: str = "fused_fast"
    frame: float = 1.0  # central part of each training image that is kept, of its side
    frame_size: int = 112  # px to which that part is brought before views are made of it
    eval_field: float = 180 / 224  # central part of it that the encoder will see when it is used
    mean: tuple[float, float, float] = (0.0435, 0.0384, 0.0289)  # normalization, on [0, 1]
    std: tuple[float, float, float] = (0.0877, 0.0729, 0.0650)
    batch_size: int = 128  # cutouts in a step
    views_per_image: int = 2  # more: each has several positives in NT-Xent
    epochs: float = 50.0
    optimizer: str = "adamw"  # or "sgd"
    lr: float = 1e-3  # the peak
    weight_decay: float = 1e-4
    momentum: float = 0.9  # of SGD
    warmup: float = 0.02  # fraction of the steps in which the rate rises from 0
    final_lr: float = 1e-6  # fraction of the peak that the cosine would reach after the last step
    nt_xent_weight: float = 1.0  # a loss of weight 0 takes no part
    temperature: float = 0.2  # of NT-Xent
    symmetric: bool = True  # NT-Xent: the views of both sides are anchors
    vicreg_weight: float = 0.0  # on 1024 features that a small network makes of the embedding
    measures_weight: float = 0.0  # mean square error of what each branch tells of `measures`
    sup_con_weight: float = 0.0
    sup_con_temperature: float = 0.1
    cross_entropy_weight: float = 0.0  # of a linear classifier of each source's classes, not kept
    hold_out: float = 0.0  # part of the labels that are never used, `data.is_held_out`
    average: float = 0.0  # decay per step of averaged weights, which are then those kept
    views: ViewOptions = field(default_factory=ViewOptions)

    def __post_init__(self) -> None:
        if self.architecture not in list_encoders():
            raise TrainingError(
                f"no architecture {self.architecture!r:.60}; there are {', '.join(list_encoders())}"
            )
        for names, holds, said in _RULES:
            for name in names:
                if not holds(value := getattr(self, name)):
                    raise TrainingError(f"{name} {said}, not {value!r}")
        finite = all(map(math.isfinite, (*self.mean, *self.std)))
        if len(self.mean) != 3 or len(self.std) != 3 or not (finite and min(self.std) > 0):
            raise TrainingError(
                "mean and std are three numbers each, and std positive, not "
                f"{self.mean} and {self.std}"
            )
        if self.views_per_image > 2 and (self.vicreg_weight > 0 or not self.symmetric):
            raise TrainingError("views_per_image above 2 is for symmetric NT-Xent, not for VICReg")
        if not any(getattr(self, name) > 0 for name in _LOSSES):
            raise TrainingError("a recipe needs a loss: all of its weights are 0")

    @property
    def guided(self) -> bool:
        """Whether labels are used."""
        return self.sup_con_weight > 0 or self.cross_entropy_weight > 0

    @property
    def trains_projection(self) -> bool:
        """Whether a loss is on the projections."""
        return self.nt_xent_weight > 0 or self.sup_con_weight > 0

    def count_steps(self, images: int) -> int:
        """Steps of the whole run on so many images."""
        return max(1, round(self.epochs * (images // self.batch_size)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the log and the checkpoint."""
        return dataclasses.asdict(self)


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Rebuild a recipe from plain values; what is missing has its default."""
    try:
        views = _check_keys(ViewOptions, values.get("views", {}))
        given = _check_keys(Recipe, {k: v for k, v in values.items() if k != "views"})
        return Recipe(**given, views=ViewOptions(**views))
    except (TypeError, ValueError) as error:
        raise TrainingError(f"the recipe has a wrong value: {error}") from error


def _check_keys(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise TypeError(f"[views] is a section, not {values!r}")
    known = {f.name for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise TrainingError(f"unknown keys {unknown}; there are {sorted(known)}")
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def list_recipes() -> list[str]:
    """Names of the recipes that come with galmorph."""
    folder = resources.files("galmorph.training") / "recipes"
    return sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml"))


def load_recipe(name: str) -> Recipe:
    """Load a recipe by its name, or from a TOML file of your own."""
    own = name.endswith(".toml")
    if not own and name not in list_recipes():
        raise TrainingError(
            f"no recipe {name!r}; there are {', '.join(list_recipes())}, or give a .toml file"
        )
    folder = resources.files("galmorph.training") / "recipes"
    try:
        text = (Path(name) if own else folder / f"{name}.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"{name}: the recipe cannot be read ({error})") from error
    try:
        return recipe_from_dict(tomllib.loads(text))
    except (ValueError, TrainingError, RecursionError) as error:
        raise TrainingError(f"{name}: {error}") from error
