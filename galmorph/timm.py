"""Importing this registers galmorph's encoders: ``timm.create_model("galmorph_wei2022")``."""

import copy
from typing import Any

from timm.models import register_model
from torch import Tensor, nn

from galmorph.encoders.registry import create_encoder, list_encoders

TIMM_OWN = frozenset({"pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"})
"""What ``timm.create_model`` passes of its own accord, about weights that it would fetch itself."""


class GalmorphForTimm(nn.Module):
    """An encoder, by name, with the methods and attributes that timm's networks have."""

    def __init__(self, name: str, *, pretrained: bool = False, num_classes: int = 0) -> None:
        super().__init__()
        self.encoder: Any = create_encoder(name)
        mean, std, crop = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1.0
        if pretrained:
            from galmorph.pipeline import load_model

            model = load_model(name)
            # load_model gives one and the same encoder to all; training must not change theirs.
            self.encoder = copy.deepcopy(model.encoder).requires_grad_(True)
            mean, std = model.preprocessing.mean, model.preprocessing.std
            crop = model.preprocessing.crop
        self.num_features = self.head_hidden_size = self.encoder.num_features
        size = self.encoder.img_size
        self.pretrained_cfg = self.default_cfg = {
            "architecture": f"galmorph_{name}",
            "input_size": (self.encoder.in_chans, size, size),
            "interpolation": "bilinear",
            "crop_pct": crop,
            "mean": mean,
            "std": std,
            "num_classes": num_classes,
        }
        self.reset_classifier(num_classes)

    def get_classifier(self) -> nn.Module:
        """The linear classifier, or an identity."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new classifier in place; 0 takes it off."""
        self.num_classes = num_classes
        linear = num_classes > 0
        self.head = nn.Linear(self.num_features, num_classes) if linear else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """Embedding, (n, num_features): the fusion has no single feature map."""
        embedding: Tensor = self.encoder(x)
        return embedding

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits, or the embedding itself with ``pre_logits``."""
        out: Tensor = x if pre_logits else self.head(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


def _register(name: str) -> None:
    def build(
        pretrained: bool = False, num_classes: int | None = 0, **options: Any
    ) -> GalmorphForTimm:
        model = GalmorphForTimm(name, pretrained=pretrained, num_classes=num_classes or 0)
        # Options of timm's networks that training scripts pass have one value each here.
        fixed = {"in_chans": model.encoder.in_chans, "img_size": model.encoder.img_size}
        fixed["drop_rate"] = 0.0
        unknown = sorted(
            f"{key}={value!r}"
            for key, value in options.items()
            if key not in TIMM_OWN and fixed.get(key) != value
        )
        if unknown:
            raise TypeError(
                f"galmorph_{name} has no {', '.join(unknown)}; it takes pretrained and "
                f"num_classes, and images of three bands and {model.encoder.img_size} px"
            )
        return model

    build.__name__ = f"galmorph_{name}"
    register_model(build)


for _name in list_encoders():
    _register(_name)
