"""``galmorph doctor``: what is installed, what is used, and whether it works."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from galmorph.cli.options import GroupedCommand, options_of
from galmorph.cli.status import OK, SOME_FAILED
from galmorph.errors import GalmorphError
from galmorph.settings import EngineOptions, ModelOptions

if TYPE_CHECKING:
    from galmorph.images.source import Source

OWN_EXTRAS = ("all", "test", "docs", "dev")  # extras that are made of others, or for developers
TIMED_IMAGES = 256
TIMED_BATCHES = 4  # with GPUs, full batches for each: speed-ups begin with the second
FRAME_SIZE = 424  # side in pixels of the JPEG that is timed: that of a Galaxy Zoo 2 cutout


@click.command(cls=GroupedCommand)
@options_of(ModelOptions, "model")
@options_of(EngineOptions, "device")
@click.option("--timing/--no-timing", default=True, show_default=True, help="Time the model.")
@click.pass_context
def doctor(ctx: click.Context, /, model: str | None, device: str, timing: bool) -> None:
    """Check the installation, the devices and the weights.

    Says what is installed, which device is used and why, what makes it fast and what not, where
    weights are looked for and whether they are the published ones, and how many images per second
    the model takes.
    Exit status 1 where something is broken.
    """
    well = _report_packages()
    well &= _report_devices(device)
    well &= _report_weights()
    if timing:
        well &= _report_timing(model, device)
    click.echo("all well" if well else "something is wrong: see above")
    ctx.exit(OK if well else SOME_FAILED)


def _find_version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _report_packages() -> bool:
    import platform
    import re
    from importlib.metadata import requires

    own, well = _find_version("galmorph"), True
    click.echo(f"galmorph {own or '(not installed)'}")
    click.echo(f"Python {platform.python_version()}, {platform.platform()}")
    for line in (requires("galmorph") or ()) if own else ():
        needed, _, condition = line.partition(";")
        name, extra = re.split(r"[^\w-]", needed)[0], condition.partition("==")[2].strip(" '\"")
        if extra in OWN_EXTRAS:
            continue
        absent = f"not installed: pip install '.[{extra}]'" if extra else "MISSING"
        version = _find_version(name)
        click.echo(f"  {name:<16} {version or absent}")
        well &= bool(version or extra)
    return well


def _report_devices(name: str) -> bool:
    from galmorph.inference.devices import explain_devices
    from galmorph.inference.engine import explain_options

    click.echo("devices")
    for kind, reason in explain_devices().items():
        click.echo(f"  {kind:<16} {reason}")
    try:
        said = explain_options(EngineOptions(device=name))
    except GalmorphError as error:
        click.echo(f"  {'used':<16} none: {error}")
        return False
    for what, how in said.items():
        click.echo(f"  {what:<16} {how}")
    return True


def _report_weights() -> bool:
    from galmorph.weights.hub import get_endpoint, hub_cache, is_offline, weights_dir
    from galmorph.weights.locate import verify_local
    from galmorph.weights.manifest import load_manifest

    manifest, bad = load_manifest(), 0
    click.echo("weights")
    click.echo(f"  {'Hub':<16} {'off (HF_HUB_OFFLINE)' if is_offline() else get_endpoint()}")
    click.echo(f"  {'cache':<16} {hub_cache()}")
    click.echo(f"  {'folder':<16} {weights_dir() or 'none (GALMORPH_WEIGHTS_DIR)'}")
    click.echo(f"  {'default model':<16} {manifest.default_model or 'none'}")
    for entry in manifest.models:
        files = list(verify_local(entry))
        bad += sum(error is not None for _, error in files)
        for path, error in files:
            click.echo(f"  {entry.name}: {'verified' if error is None else error} ({path})")
        if not files and entry.bundled:
            bad += 1
            click.echo(f"  {entry.name}: the bundled file is missing: install galmorph again")
    return not bad


def _report_timing(model: str | None, device: str) -> bool:
    from galmorph.inference.backends import open_backend
    from galmorph.inference.engine import GPU_BATCH_SIZE
    from galmorph.pipeline import Pipeline, load_model

    click.echo("timing")
    try:
        began = time.perf_counter()
        pipeline = Pipeline(load_model(model), options=EngineOptions(device=device))
        list(pipeline.run(_make_jpegs(1)))
        click.echo(f"  {'first image':<16} {time.perf_counter() - began:.1f} s")
        on_cpu = open_backend(pipeline.model, device=device).device == "cpu"
        count = TIMED_IMAGES if on_cpu else TIMED_BATCHES * GPU_BATCH_SIZE
        began = time.perf_counter()
        blocks = list(pipeline.run(_make_jpegs(count)))
        seconds = time.perf_counter() - began
    except GalmorphError as error:
        click.echo(f"  failed: {error}")
        return False
    errors = [row.message for block in blocks for row in block.rows if row.error is not None]
    click.echo(
        f"  {pipeline.model.name:<16} {count / seconds:.0f} images/s "
        f"({count} JPEG images of {FRAME_SIZE} px)"
    )
    for message in errors[:1]:
        click.echo(f"  failed: {message}")
    return not errors


def _make_jpegs(count: int) -> Iterator[Source]:
    """A smooth round galaxy with noise as a JPEG, so many times."""
    import io

    from PIL import Image, ImageOps

    from galmorph.images.memory import InMemory

    side = (FRAME_SIZE, FRAME_SIZE)
    light = ImageOps.invert(Image.radial_gradient("L")).point(lambda x: x**4 / 255**3).resize(side)
    noisy, buffer = Image.blend(light, Image.effect_noise(side, 30), 0.1), io.BytesIO()
    ImageOps.colorize(noisy, "black", (220, 190, 150)).save(buffer, "JPEG", quality=90)
    for number in range(count):
        yield InMemory(str(number), buffer.getvalue())
