"""Galaxy encoders in timm's format, such as Zoobot's; imports timm."""

import io
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from galmorph.errors import CheckpointError
from galmorph.stored import read_bytes


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
    """Load a timm encoder from tensors under timm's own names; a classifier is left aside."""
    encoder = TimmEncoder(architecture, img_size=img_size)
    wanted = encoder.network.state_dict().keys()
    data = read_bytes(path, sha256)[0]
    load = load_safetensors if str(path).endswith(".safetensors") else load_pickle
    state = {key: value for key, value in load(data, path).items() if key in wanted}
    try:
        encoder.network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the tensors do not fit timm's {architecture!r}") from error
    for name, tensor in encoder.network.state_dict().items():
        if not bool(tensor.isfinite().all()):
            raise CheckpointError(f"{path}: {name} holds values that are not finite")
    return encoder.eval().requires_grad_(False)


def load_safetensors(data: bytes, path: str | Path) -> dict[str, Tensor]:
    """Tensors of the bytes of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(data)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from None


def load_pickle(data: bytes, path: str | Path) -> dict[str, Tensor]:
    """Tensors of what ``torch.save`` wrote, also as ``model`` or ``state_dict``; runs nothing."""
    try:
        with warnings.catch_warnings():
            # torch remarks on old pickle protocols; what matters is whether it can be read.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive fails in many ways
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{path}: is damaged, or holds more than tensors, which galmorph does not execute: save "
            f"its state_dict alone ({said})"
        ) from None
    for wrapper in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{path}: holds no state_dict")
    other = next((k for k, value in content.items() if not isinstance(value, Tensor)), None)
    if other is not None:
        raise CheckpointError(f"{path}: holds no state_dict: {str(other)!r} is not a tensor")
    return content
