"""Draw the pictures of the README and the quickstart from the simulated examples.

Run from the repository: python docs/make_figures.py [--model FILE]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import galmorph
from galmorph.preprocessing.render import render

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "docs" / "_static"
SIDE, CAPTION, GAP, COLUMNS = 150, 44, 8, 5
CENTRAL = 0.6
"""Part of each frame that is shown, so that the galaxies can be seen."""


def read_colours(path: Path) -> Image.Image:
    """The middle of an example as the network is given it."""
    array = render(galmorph.read_cutout(path)).array
    if array.dtype != np.uint8:
        array = (np.clip(array, 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(array.transpose(1, 2, 0)))
    edge = round(image.width * (1 - CENTRAL) / 2)
    return image.crop((edge, edge, image.width - edge, image.height - edge))


def draw_examples(table: Any) -> Image.Image:
    """All examples with their file names, labels and probabilities."""
    rows = -(-len(table) // COLUMNS)
    size = (COLUMNS * (SIDE + GAP) + GAP, rows * (SIDE + CAPTION + GAP) + GAP)
    canvas = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(15)
    for number, row in enumerate(table):
        x = GAP + number % COLUMNS * (SIDE + GAP)
        y = GAP + number // COLUMNS * (SIDE + CAPTION + GAP)
        image = read_colours(Path(row["path"]))
        canvas.paste(image.resize((SIDE, SIDE), Image.Resampling.BOX), (x, y))
        draw.text((x, y + SIDE + 3), str(row["object_id"]), fill="dimgray", font=font)
        label = f"{row['label']} {row['confidence']:.2f}"
        draw.text((x, y + SIDE + 21), label, fill="black", font=font)
    return canvas


def main() -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    model = parser.parse_args().model
    table = galmorph.classify(ROOT / "examples", model=model, device="cpu", precision="float32")
    STATIC.mkdir(exist_ok=True)
    draw_examples(table).save(STATIC / "examples.png", optimize=True)

    from galmorph.cli.main import cli

    with tempfile.TemporaryDirectory() as folder:
        panels = Path(folder) / "panels.png"
        arguments = [
            "inspect",
            str(ROOT / "examples" / "decals_spiral_1.fits.fz"),
            "-o",
            str(panels),
        ]
        arguments += ["--model", model] if model else []
        cli.main(arguments, standalone_mode=False)
        with Image.open(panels) as image:
            image.save(STATIC / "inspect.png", optimize=True)


if __name__ == "__main__":
    main()
