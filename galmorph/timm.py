"""Registers galmorph's encoders with timm: ``timm.create_model("galmorph_wei2022")``.

Import this module once; it imports timm, and with it torchvision.
"""

from __future__ import annotations

import copy
from typing import Any

from timm.models import register_model
from torch import Tensor, nn

from galmorph.encoders.fused import FusedEncoder
from galmorph.encoders.registry import create_encoder

__all__ = ["GalmorphForTimm", "galmorph_fused_fast", "galmorph_wei2022"]

TIMM_OWN = frozenset({"pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"})
"""What ``timm.create_model`` passes of its own accord, about weights that it would fetch itself."""

FIXED = {"in_chans": FusedEncoder.in_chans, "img_size": FusedEncoder.img_size, "drop_rate": 0.0}
"""Options of timm's networks that training scripts pass, and the one value that each has here."""


class GalmorphForTimm(nn.Module):
    """An encoder with the methods and attributes that timm's networks have.

    Parameters
    ----------
    name : str
        As `galmorph.encoders.registry.create_encoder` takes it.
    pretrained : bool
        Load the released weights of that name.
    num_classes : int
        Length of a linear classifier on the embedding; 0 for none.
    """

    def __init__(self, name: str, *, pretrained: bool = False, num_classes: int = 0) -> None:
        super().__init__()
        if pretrained:
            from galmorph._api import load_model

            model = load_model(name)
            # load_model gives one and the same encoder to all; training must not change theirs.
            self.encoder: nn.Module = copy.deepcopy(model.encoder).requires_grad_(True)
            mean, std = model.preprocessing.mean, model.preprocessing.std
            crop = model.preprocessing.crop
        else:
            self.encoder = create_encoder(name)
            mean, std, crop = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1.0
        encoder = self.encoder
        assert isinstance(encoder, FusedEncoder)
        self.num_features = self.head_hidden_size = encoder.num_features
        self.num_classes = num_classes
        size = encoder.img_size
        self.pretrained_cfg = self.default_cfg = {
            "architecture": f"galmorph_{name}",
            "input_size": (encoder.in_chans, size, size),
            "interpolation": "bilinear",
            "crop_pct": crop,
            "mean": mean,
            "std": std,
            "num_classes": num_classes,
        }
        self.head: nn.Module = nn.Identity()
        self.reset_classifier(num_classes)

    def get_classifier(self) -> nn.Module:
        """The linear classifier, or an identity."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new classifier in place; 0 takes it off."""
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

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


def _build(name: str, pretrained: bool, options: dict[str, Any]) -> GalmorphForTimm:
    classes = options.pop("num_classes", 0) or 0
    unknown = sorted(
        f"{key}={value!r}"
        for key, value in options.items()
        if key not in TIMM_OWN and not (key in FIXED and FIXED[key] == value)
    )
    if unknown:
        raise TypeError(
            f"galmorph_{name} has no {', '.join(unknown)}; it takes pretrained and num_classes, "
            "and images of three bands and 84 px"
        )
    return GalmorphForTimm(name, pretrained=pretrained, num_classes=classes)


@register_model  # type: ignore[untyped-decorator]
def galmorph_wei2022(pretrained: bool = False, **kwargs: Any) -> GalmorphForTimm:
    """The encoder of Wei et al. 2022."""
    return _build("wei2022", pretrained, kwargs)


@register_model  # type: ignore[untyped-decorator]
def galmorph_fused_fast(pretrained: bool = False, **kwargs: Any) -> GalmorphForTimm:
    """The fast fused encoder, galmorph's default."""
    return _build("fused_fast", pretrained, kwargs)
