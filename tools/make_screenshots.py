"""Make the pictures of the explorer for the docs, from simulated galaxies.

    python tools/make_screenshots.py [--folder FOLDER] [--chromium /usr/bin/chromium]

Simulates galaxies as `examples/make_examples.py` does, classifies them, opens the explorer in a headless
Chromium (Playwright, extra `browser`), and writes docs/_static/explore.png, explore_dark.png, explore_galaxy.png
(one galaxy) and report.png. What is in FOLDER already is not made again.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]

from make_examples import Galaxy, edge_on, smooth, spiral, write_jpeg  # noqa: E402

COUNT = 240
SIZE = {"width": 1440, "height": 1140}
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
PNG_COLOURS = 256
"""A palette keeps a picture below 400 kB."""


def draw_galaxy(number: int, rng: np.random.Generator) -> Galaxy:
    """One galaxy of four kinds: round, cigar-shaped, edge-on, with arms (half of them barred)."""
    degrees, magnitude = rng.uniform(0, 180), rng.uniform(15.2, 16.8)
    kind = number % 4
    if kind == 0:
        return smooth(
            f"round_{number}", rng.uniform(1.6, 3), rng.uniform(0.8, 1), degrees, magnitude
        )
    if kind == 1:
        ratio = rng.uniform(0.28, 0.6)
        return smooth(f"cigar_{number}", rng.uniform(2, 3.2), ratio, degrees, magnitude)
    if kind == 2:
        half = rng.uniform(2.8, 4.6)
        return edge_on(f"edge_on_{number}", half, degrees, magnitude, rng.uniform(1, 2.4))
    half = rng.uniform(2.8, 4.4)
    arms = {"arms": 2, "pitch": rng.uniform(14, 26), "strength": rng.uniform(0.5, 0.9)}
    if number % 8 == 7:
        arms["bar"] = 0.5 * half
    return spiral(
        f"spiral_{number}", half, rng.uniform(0.55, 0.95), degrees, magnitude - 0.6, **arms
    )


def make_galaxies(folder: Path, count: int, *, seed: int = 21) -> None:
    """Write JPEG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, rng in enumerate(np.random.default_rng(seed).spawn(count)):
        galaxy = draw_galaxy(number, rng)
        if not (folder / f"{galaxy.name}.jpg").exists():
            write_jpeg(galaxy, folder, rng)


def classify(folder: Path) -> None:
    """Make the table that is explored; paths in it start from the folder."""
    command = ["classify", "galaxies", "-o", "run.parquet", "--with-embedding", "--quiet"]
    command += ["--report", "report.html"]
    subprocess.run(
        [sys.executable, "-m", "galmorph", *command], cwd=folder, env=ENVIRONMENT, check=True
    )


def take_pictures(folder: Path, chromium: str) -> None:
    """Label some galaxies, learn, and take the page in the light and in the dark, and a report."""
    from playwright.sync_api import sync_playwright

    (folder / "labels.csv").unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "galmorph",
        *["explore", "run.parquet", "--port", "0", "--no-browser"],
    ]
    server = subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    try:
        address = server.stderr.readline().strip()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for name, theme in (("explore", "light"), ("explore_dark", "dark")):
                page = browser.new_page(viewport=SIZE, color_scheme=theme)
                page.set_default_timeout(60_000)
                page.goto(address)
                page.wait_for_selector(".cell img")
                if theme == "light":
                    label_galaxies(page)
                page.wait_for_timeout(2000)
                save_png(page.screenshot(), f"{name}.png")
                if theme == "light":
                    page.get_by_label("why").select_option("spiral")
                    page.get_by_text("what spiral rests on").wait_for()
                    page.wait_for_timeout(1000)
                    save_png(
                        page.locator(".portrait").locator("..").screenshot(), "explore_galaxy.png"
                    )
            page = browser.new_page(viewport=SIZE)
            page.goto((folder / "report.html").absolute().as_uri())
            save_png(page.screenshot(), "report.png")
    finally:
        server.terminate()


def label_galaxies(page: Any) -> None:
    """Twelve labels, and what is learnt from them."""
    title = page.locator(".portrait h3")
    names = page.get_by_label("labels, by the keys")
    names.fill("arms, none")
    names.press("Enter")
    page.get_by_role("button", name="1 arms (0)").wait_for()
    title.click()
    counts = {"1 arms": 0, "2 none": 0}
    for share, name in (("spiral", "1 arms"), ("round", "2 none"), ("edge on", "2 none")):
        page.get_by_label("sort by").select_option(share)
        first = page.locator(".cell").first
        first.filter(has_text=f" {share.replace(' ', '_')}").wait_for()
        first.click()
        title.filter(has_text=first.get_attribute("title")).wait_for()
        for _ in range(4):
            counts[name] += 1
            page.keyboard.press(name[0])
            page.get_by_role("button", name=f"{name} ({counts[name]})").wait_for()
    page.get_by_role("button", name="Learn").click()
    page.get_by_text("in cross-validation").wait_for()
    page.get_by_label("sort by").select_option("yours: arms")
    page.get_by_text("1–30 of 228").wait_for()  # without the labelled ones
    page.locator(".cell").nth(2).click()


def save_png(data: bytes, name: str) -> None:
    """Write with a palette, which keeps it below 400 kB."""
    path = ROOT / "docs" / "_static" / name
    image = Image.open(io.BytesIO(data)).convert("RGB")
    method = Image.Quantize.MAXCOVERAGE  # keeps the few pixels of a colour apart
    image.quantize(PNG_COLOURS, method, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Make what is not there yet, then the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("build/screenshots"))
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    given = parser.parse_args()
    make_galaxies(given.folder / "galaxies", given.count)
    if not (given.folder / "run.parquet").exists():
        classify(given.folder)
    take_pictures(given.folder, given.chromium)


if __name__ == "__main__":
    main()
