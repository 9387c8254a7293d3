"""A plain pipeline, as the usual tools are written: what galmorph is compared with.

Pillow decodes the whole file, a `DataLoader` makes batches of 32, the network runs in float32 as
it was defined, and the probabilities are collected. Nothing is made slow on purpose: workers are
tried in the main process and in one process per core, and the faster counts.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

BATCH = 32


def stretch_legacysurvey(flux: Any) -> Any:
    """Colours of g, r, z in nanomaggies, as the Legacy Surveys show them; (band, y, x)."""
    scaled = flux.astype(np.float32) * np.array([6, 3.4, 2.2], np.float32)[:, None, None] + 0.03
    mean = np.maximum(scaled, 0).mean(axis=0)
    mean = np.where(mean == 0, 1e-6, mean)
    factor = np.arcsinh(20 * mean) / (np.sqrt(20) * mean)
    return np.clip(scaled[::-1] * factor, 0, 1)[:, ::-1]


def open_fits(path: Path) -> Image.Image:
    """A FITS cube, or one in tiles, as 8-bit colours."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        flux = next(hdu.data for hdu in hdus if hdu.data is not None)
    colours = (stretch_legacysurvey(flux) * 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(colours.transpose(1, 2, 0)))


class Cutouts(Dataset[Tensor]):
    """Files as normalized tensors."""

    def __init__(self, files: list[Path], size: int, crop: float) -> None:
        self.files, self.size, self.crop = files, size, crop

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        path = self.files[index]
        image = open_fits(path) if ".fits" in path.name else Image.open(path).convert("RGB")
        side = round(self.crop * min(image.size))
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255
        return (pixels - 0.04) / 0.08


def run_plain(
    network: nn.Module, files: list[Path], *, size: int, crop: float, workers: int
) -> Any:
    """Probabilities of every file."""
    loader = DataLoader(Cutouts(files, size, crop), batch_size=BATCH, num_workers=workers)
    results = []
    with torch.no_grad():
        for batch in loader:
            results.append(torch.softmax(network(batch), dim=1).numpy())
    return np.concatenate(results)


def make_network(name: str) -> tuple[nn.Module, int, float]:
    """Network with five classes, its input size, and the part of the frame that it takes."""
    if name.startswith("timm:"):
        import timm

        network = timm.create_model(name.removeprefix("timm:"), num_classes=5)
        return network.eval(), 224, 1.0
    from common import make_model

    encoder = make_model(name).encoder
    return nn.Sequential(encoder, nn.Linear(encoder.num_features, 5)).eval(), 84, 180 / 424


def main() -> None:
    """Seconds for a folder of FITS files, the better of no worker and one for each core."""
    torch.set_num_threads(cores := len(os.sched_getaffinity(0)))
    files = sorted(Path(sys.argv[1]).rglob("*.fits*"))
    network, size, crop = make_network("fused_fast")
    run_plain(network, files[:BATCH], size=size, crop=crop, workers=0)
    seconds = []
    for workers in (0, cores):
        began = time.perf_counter()
        run_plain(network, files, size=size, crop=crop, workers=workers)
        seconds.append(time.perf_counter() - began)
    print(min(seconds))


if __name__ == "__main__":
    main()
