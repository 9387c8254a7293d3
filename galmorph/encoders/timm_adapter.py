"""Galaxy encoders in timm's format, such as the published Zoobot encoders, as galmorph models.

timm and torchvision are imported here and in `galmorph.timm` only.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from galmorph.errors import CheckpointError
from galmorph.stored import read_bytes

__all__ = ["TimmEncoder", "load_timm_encoder"]


class TimmEncoder(nn.Module):
    """A timm network, by timm's name of it, without its classifier."""

    def __init__(self, architecture: str, *, img_size: int) -> None:
        super().__init__()
        import timm

        try:
            self.network = timm.create_model(architecture, pretrained=False, num_classes=0)
        except RuntimeError as error:
            raise CheckpointError(f"timm has no network {architecture!r} ({error})") from error
        self.img_size = img_size
        self.num_features: int = self.network.num_features

    def forward(self, x: Tensor) -> Tensor:
        embedding: Tensor = self.network(x)  # (n, num_features)
        return embedding


def load_timm_encoder(
    path: str | Path, architecture: str, *, img_size: int, sha256: str | None = None
) -> TimmEncoder:
    """Load a timm encoder of that input size from a safetensors file under timm's own names.

    A classifier among the tensors is left aside. CheckpointError: they do not fit the architecture,
    or are not finite; ChecksumError: the file is not that of `sha256`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    encoder = TimmEncoder(architecture, img_size=img_size)
    wanted = encoder.network.state_dict().keys()
    try:
        state = load(read_bytes(path, sha256)[0])
        encoder.network.load_state_dict({k: v for k, v in state.items() if k in wanted})
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from None
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the tensors do not fit timm's {architecture!r}") from error
    for name, tensor in encoder.network.state_dict().items():
        if not bool(tensor.isfinite().all()):
            raise CheckpointError(f"{path}: {name} holds values that are not finite")
    return encoder.eval().requires_grad_(False)
