"""Pretraining: exact resume, NaN, skipped files, the log."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from two_classes import draw_galaxy, write_galaxies

from galmorph.errors import TrainingError
from galmorph.training.checkpoint import get_kept, load_checkpoint
from galmorph.training.contrastive import PretrainingRun, compute_lr
from galmorph.training.data import TrainingSet, is_held_out, load_training_set
from galmorph.training.export import build_model
from galmorph.training.loop import KnnMonitor, pretrain, read_log
from galmorph.training.measures import compute_measures, to_normal_scores
from galmorph.training.recipe import Recipe, list_recipes, load_recipe, recipe_from_dict
from galmorph.training.views import ViewOptions


def make_run(data: TrainingSet, recipe: Recipe, **options: Any) -> PretrainingRun:
    return PretrainingRun(data, recipe, precision="float32", **options)


def get_weights(folder: Path) -> dict[str, torch.Tensor]:
    state = load_checkpoint(folder)
    parts = [part for part in ("encoder", "projection", "classifiers", "average") if state[part]]
    return {f"{part}.{k}": v for part in parts for k, v in state[part].items()}


class Killed(Exception):
    """Stands for SIGKILL: nothing is saved on the way out."""


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "sgd"},
        {"cross_entropy_weight": 1.0, "average": 0.5, "hold_out": 0.2},
        {"nt_xent_weight": 0.0, "sup_con_weight": 0.0, "cross_entropy_weight": 1.0},
        {"views": ViewOptions(cut=0.5)},
    ],
    ids=str,
)
def test_a_killed_run_resumes_to_the_same_weights(
    training_set: TrainingSet, recipe: Recipe, tmp_path: Path, changes: dict[str, Any]
) -> None:
    recipe = replace(recipe, **changes)
    assert pretrain(make_run(training_set, recipe), tmp_path / "whole")

    def kill(report: Any) -> None:
        if report.step == 5:
            raise Killed

    with pytest.raises(Killed):
        pretrain(make_run(training_set, recipe), tmp_path / "cut", on_step=kill, save_every=0)
    assert load_checkpoint(tmp_path / "cut")["step"] == 4
    run = make_run(training_set, recipe)
    run.restore(tmp_path / "cut")
    assert pretrain(run, tmp_path / "cut")
    whole, cut = get_weights(tmp_path / "whole"), get_weights(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    for key, tensor in whole.items():
        assert torch.equal(tensor, cut[key]), key
    assert read_log(tmp_path / "cut") == read_log(tmp_path / "whole")


def test_the_average_follows_the_weights_and_is_what_is_kept(
    training_set: TrainingSet, recipe: Recipe, tmp_path: Path
) -> None:
    decay = 0.75
    run = make_run(training_set, replace(recipe, average=decay))
    run.advance()
    expected = run.encoder.conv.weight.detach().clone()  # type: ignore[union-attr]
    for _ in range(2):
        run.advance()
        expected = decay * expected + (1 - decay) * run.encoder.conv.weight.detach()  # type: ignore[union-attr]
    run.save(tmp_path)
    state = load_checkpoint(tmp_path)
    kept = get_kept(state, "encoder")
    torch.testing.assert_close(kept["conv.weight"], expected)
    torch.testing.assert_close(kept["conv.weight"], run.kept_encoder.conv.weight.detach())  # type: ignore[union-attr, operator]
    assert not torch.equal(kept["conv.weight"], state["encoder"]["conv.weight"])
    assert kept.keys() == state["encoder"].keys()
    assert get_kept(state, "projection").keys() == state["projection"].keys()


def test_a_supervised_run_learns_the_classes(training_set: TrainingSet, recipe: Recipe) -> None:
    recipe = replace(
        recipe,
        nt_xent_weight=0.0,
        sup_con_weight=0.0,
        cross_entropy_weight=1.0,
        batch_size=12,
        epochs=60,
        lr=1e-2,
    )
    run = make_run(training_set, recipe)
    losses = [run.advance()[0] for _ in range(run.steps)]
    assert losses[0] == pytest.approx(np.log(2), abs=0.3)
    assert losses[-1] < 0.3


@pytest.mark.parametrize("nt_xent_weight", [0.0, 1.0])
@pytest.mark.parametrize("label", [-1, 0])
def test_labels_that_tell_nothing_apart_are_no_labels(
    training_set: TrainingSet, recipe: Recipe, nt_xent_weight: float, label: int
) -> None:
    """Of two sources, each with one class or none."""
    domains = np.arange(12) % 2
    data = replace(training_set, labels=np.full(12, label), domains=domains)
    guided = replace(recipe, nt_xent_weight=nt_xent_weight, cross_entropy_weight=1.0)
    with pytest.raises(TrainingError, match="no source has labels of two classes.*--label-column"):
        make_run(data, guided)
    make_run(data, replace(recipe, sup_con_weight=0.0))


def test_held_out_labels_change_nothing(training_set: TrainingSet, recipe: Recipe) -> None:
    """Whatever they are: only the labels that are used can move the weights."""
    recipe = replace(recipe, hold_out=0.4, cross_entropy_weight=1.0)
    held = np.array([is_held_out(f"{i}", 0.4) for i in range(12)])
    assert 0 < held.sum() < 12
    losses = []
    for rows in (np.zeros(12, dtype=bool), held, ~held):
        labels = np.where(rows, 1 - training_set.labels, training_set.labels)
        run = make_run(replace(training_set, labels=labels), recipe)
        losses.append([run.advance()[0] for _ in range(3)])
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_the_monitor_looks_at_held_out_labels_where_there_are_some() -> None:
    names = tuple(f"{kind}/{i}.png" for i, kind in enumerate(["a", "b"] * 100))
    labels, domains = np.array([0, 1] * 100), np.zeros(200, dtype=int)
    data = TrainingSet(
        np.zeros((200, 3, 4, 4), np.uint8), labels, domains, (("a", "b"),), names, ()
    )
    chosen = KnnMonitor(data, field=1.0, hold_out=0.3).rows
    assert 30 < len(chosen) < 90
    assert all(is_held_out(str(row), 0.3) for row in chosen)
    assert len(KnnMonitor(data, field=1.0).rows) == 200


def test_another_seed_gives_other_weights(
    training_set: TrainingSet, recipe: Recipe, tmp_path: Path
) -> None:
    short = replace(recipe, epochs=1 / 3)
    for seed in (0, 1):
        pretrain(make_run(training_set, short, seed=seed), tmp_path / str(seed))
    one, other = (get_weights(tmp_path / str(seed)) for seed in (0, 1))
    assert not torch.equal(one["projection.fc1.weight"], other["projection.fc1.weight"])


def test_stopping_saves_and_the_monitor_changes_nothing(
    training_set: TrainingSet, recipe: Recipe, tmp_path: Path
) -> None:
    twice = TrainingSet(
        np.concatenate([training_set.images] * 2),
        np.tile(training_set.labels, 2),
        np.zeros(24, dtype=int),
        training_set.class_names,
        training_set.names * 2,
        (),
    )
    recipe = replace(recipe, batch_size=8, epochs=1)
    monitor = KnnMonitor(twice, field=0.8)
    assert not pretrain(
        make_run(twice, recipe), tmp_path / "a", monitor=monitor, should_stop=lambda: True
    )
    run = make_run(twice, recipe)
    run.restore(tmp_path / "a")
    assert run.step == 1
    assert pretrain(run, tmp_path / "a", monitor=monitor)
    assert pretrain(make_run(twice, recipe), tmp_path / "b")
    one, other = get_weights(tmp_path / "a"), get_weights(tmp_path / "b")
    assert all(torch.equal(one[key], other[key]) for key in one)
    log = read_log(tmp_path / "a")
    assert [line["step"] for line in log] == [1, 2, 3]
    assert 0 <= log[-1]["knn"] <= 1


def test_nan_loss_stops_and_keeps_the_last_good_checkpoint(
    training_set: TrainingSet, recipe: Recipe, tmp_path: Path
) -> None:
    run = make_run(training_set, recipe)
    good = run.compute_loss

    def poisoned(*arguments: Any) -> torch.Tensor:
        return good(*arguments) * (float("nan") if run.step == 3 else 1)

    run.compute_loss = poisoned  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"loss of step 4 is nan; the last good checkpoint"):
        pretrain(run, tmp_path, save_every=0)
    assert load_checkpoint(tmp_path)["step"] == 3
    assert all(torch.isfinite(v).all() for v in get_weights(tmp_path).values())


def test_weights_that_are_not_finite_are_never_saved(
    training_set: TrainingSet, recipe: Recipe, tmp_path: Path
) -> None:
    run = make_run(training_set, recipe)
    run.save(tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with torch.no_grad():
        run.projection.fc1.weight[0, 0] = float("inf")
    with pytest.raises(TrainingError, match="a weight is not finite after step 0"):
        run.save(tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("part", ["classifiers", "expander", "gauges"])
def test_what_is_trained_along_must_be_finite_too(
    training_set: TrainingSet, recipe: Recipe, tmp_path: Path, part: str
) -> None:
    weights = {"vicreg_weight": 1.0, "cross_entropy_weight": 1.0, "measures_weight": 1.0}
    run = make_run(training_set, replace(recipe, **weights))
    with torch.no_grad():
        next(getattr(run, part).parameters()).view(-1)[0] = float("nan")
    with pytest.raises(TrainingError, match="a weight is not finite after step 0"):
        run.save(tmp_path)


def test_gauges_that_say_nothing_cost_the_mean_square_of_the_measures_of_their_rows(
    training_set: TrainingSet, recipe: Recipe
) -> None:
    run = make_run(training_set, replace(recipe, measures_weight=1.0))
    for parameter in run.gauges.parameters():
        torch.nn.init.zeros_(parameter)
    rows = torch.tensor([2, 0, 7, 5])
    embedding = torch.randn(8, run.encoder.num_features)
    measures = to_normal_scores(compute_measures(torch.from_numpy(training_set.images)))
    with torch.no_grad():
        loss = float(run._gauge(embedding, rows))
    assert loss == pytest.approx(float(measures[rows].square().mean()))


def test_a_checkpoint_of_another_run_is_refused(
    training_set: TrainingSet, recipe: Recipe, tmp_path: Path
) -> None:
    make_run(training_set, recipe).save(tmp_path)
    with pytest.raises(TrainingError, match="with another recipe"):
        make_run(training_set, replace(recipe, lr=0.5)).restore(tmp_path)
    with pytest.raises(TrainingError, match="with another seed"):
        make_run(training_set, recipe, seed=1).restore(tmp_path)
    renamed = replace(training_set, names=("other",) * 12)
    with pytest.raises(TrainingError, match="with another list of images"):
        make_run(renamed, recipe).restore(tmp_path)
    pixels = training_set.images.copy()
    pixels[-1, -1, -1, -1] ^= 1
    for changes, word in (
        ({"object_ids": ("other",) * 12}, "list of object_ids"),
        ({"domains": np.repeat([0, 1], 6)}, "list of sources"),
        ({"images": pixels}, "content of the images"),
    ):
        with pytest.raises(TrainingError, match=f"with another {word}"):
            make_run(replace(training_set, **changes), recipe).restore(tmp_path)


def test_stacks_of_one_size_are_told_apart(recipe: Recipe, tmp_path: Path) -> None:
    """The names of their images are the same, and so are the object_ids of those in folders."""
    recipe = replace(recipe, sup_con_weight=0.0)
    for folder, seed in (("a", 0), ("b", 1)):
        (tmp_path / folder).mkdir()
        images = np.random.default_rng(seed).integers(0, 256, (4, 24, 24, 3), dtype=np.uint8)
        np.savez(tmp_path / folder / "stack.npz", images=images)
    a, b = tmp_path / "a" / "stack.npz", tmp_path / "b" / "stack.npz"
    load = partial(load_training_set, frame_size=24)
    make_run(load([a, b]), recipe).save(tmp_path)
    make_run(load([a, b]), recipe).restore(tmp_path)
    for other in ([b, a], [a, a]):
        with pytest.raises(TrainingError, match="with another content of the images"):
            make_run(load(other), recipe).restore(tmp_path)


def test_a_checkpoint_of_an_earlier_version_is_taken(
    training_set: TrainingSet, recipe: Recipe, tmp_path: Path
) -> None:
    """One whose fingerprint lacks what was added since."""
    make_run(training_set, recipe).save(tmp_path)
    state = load_checkpoint(tmp_path)
    found = json.loads(state["fingerprint"])
    for key in ("names", "object_ids", "domains", "pixels"):
        del found[key]
    del found["recipe"]["eval_field"], found["recipe"]["views"]["hue"]
    torch.save({**state, "fingerprint": json.dumps(found)}, tmp_path / "checkpoint.pt")
    run = make_run(training_set, recipe)
    run.restore(tmp_path)
    assert run.step == 0


def test_files_that_are_no_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="there is no checkpoint to go on from"):
        load_checkpoint(tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"cut short")
    with pytest.raises(TrainingError, match="cannot be read"):
        load_checkpoint(tmp_path)
    torch.save({"model": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError, match="not a checkpoint of galmorph pretrain"):
        load_checkpoint(tmp_path)


def test_too_few_images_for_a_batch(training_set: TrainingSet, recipe: Recipe) -> None:
    with pytest.raises(TrainingError, match="12 images do not fill a batch of 64"):
        make_run(training_set, replace(recipe, batch_size=64))


def test_learning_rate_warms_up_and_ends_low() -> None:
    recipe = Recipe(lr=1.0, warmup=0.1, final_lr=1e-3)
    rates = [compute_lr(step, 100, recipe) for step in range(100)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert max(rates) == 1
    assert (np.diff(rates[10:]) < 0).all()
    cosine = (1 + np.cos(np.pi * 89 / 90)) / 2  # of the 90 steps after the warm-up, the last
    assert rates[-1] == pytest.approx(1e-3 + (1 - 1e-3) * cosine, rel=1e-12)
    assert compute_lr(100, 100, recipe) == pytest.approx(1e-3, rel=1e-12)


def test_unreadable_images_are_skipped_and_listed(tmp_path: Path) -> None:
    write_galaxies(tmp_path / "set", "round", range(3))
    write_galaxies(tmp_path / "set", "edge_on", range(2))
    (tmp_path / "set" / "round" / "broken.png").write_bytes(b"not a picture")
    Image.new("RGB", (48, 48)).save(tmp_path / "set" / "round" / "empty.png")
    Image.fromarray(draw_galaxy("round", 9)).save(tmp_path / "set" / "loose.png")
    found = load_training_set([tmp_path / "set"], frame_size=24)
    assert found.images.shape == (6, 3, 24, 24)
    assert found.class_names == (("edge_on", "round"),)
    assert dict(zip(found.names, found.labels, strict=True)) == {
        "loose.png": -1,
        "edge_on/edge_on0.png": 0,
        "edge_on/edge_on1.png": 0,
        "round/round0.png": 1,
        "round/round1.png": 1,
        "round/round2.png": 1,
    }
    assert sorted(Path(line.split(": ")[0]).name for line in found.skipped) == [
        "broken.png",
        "empty.png",
    ]


@pytest.mark.parametrize("ending", [".tar", ".TAR", ".tar.gz", ".tgz"])
def test_a_folder_of_shards_stands_for_its_shards_alone(tmp_path: Path, ending: str) -> None:
    write_galaxies(tmp_path / "made", "round", range(3))
    write_galaxies(tmp_path / "set" / "test", "edge_on", range(2))
    kind = "tar" if ending.lower() == ".tar" else "gztar"
    made = shutil.make_archive(str(tmp_path / "made"), kind, tmp_path / "made")
    shutil.move(made, tmp_path / "set" / f"train{ending}")
    (tmp_path / "set" / f"._train{ending}").write_bytes(b"what macOS leaves beside it")
    found = load_training_set([tmp_path / "set"], frame_size=24)
    assert {Path(name).name for name in found.names} == {
        "round0.png",
        "round1.png",
        "round2.png",
    }
    assert found.class_names == (("round",),)
    assert not found.skipped
    assert (found.labels == -1).all()  # one class says nothing


def test_what_the_run_itself_draws_is_left_out(tmp_path: Path) -> None:
    write_galaxies(tmp_path / "set", "round", range(2))
    Image.fromarray(draw_galaxy("round", 9)).save(tmp_path / "set" / "curves.png")
    (tmp_path / "set" / "run").mkdir()
    Image.fromarray(draw_galaxy("round", 9)).save(tmp_path / "set" / "run" / "curves.png")
    (tmp_path / "link").symlink_to(tmp_path / "set")
    own = tmp_path / "link" / "run" / "curves.png"
    found = load_training_set([tmp_path / "set"], frame_size=24, leave_out=own)
    assert found.names == ("curves.png", "round/round0.png", "round/round1.png")
    assert not found.skipped


def test_many_sources_each_have_their_classes(tmp_path: Path) -> None:
    for number in range(3):
        write_galaxies(tmp_path / str(number), "round", range(number, number + 1))
        write_galaxies(tmp_path / str(number), "edge_on", range(number % 2))
    found = load_training_set([tmp_path / str(n) for n in range(3)], frame_size=24)
    assert found.class_names == (("round",), ("edge_on", "round"), ("round",))
    assert found.labels.tolist() == [-1, 0, 1, -1]


FILL = """
import resource
import numpy as np
from galmorph.training.data import _Found

found, image = _Found(), np.ones((3, 112, 112), np.uint8)
for n in range(3000):
    image[0, 0, 0] = n % 251
    found.add(image, (str(n), str(n), 0, ""))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images = found.close(1).images
assert images.shape == (3000, 3, 112, 112) and not found.chunks
assert (images[:, 0, 0, 0] == np.arange(3000) % 251).all() and images[:, 1:].min() == 1
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / images.nbytes)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc", reason="glibc alone"
)
def test_images_are_not_held_twice_at_the_end_of_reading() -> None:
    done = subprocess.run([sys.executable, "-c", FILL], capture_output=True, check=True)
    assert float(done.stdout) < 0.6


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no")
    with pytest.raises(TrainingError, match=r"no image could be read from .*broken\.jpg"):
        load_training_set([tmp_path])


def test_central_part_of_the_frame_is_kept(tmp_path: Path) -> None:
    pixels = np.zeros((40, 40, 3), dtype=np.uint8)
    pixels[10:30, 10:30] = np.random.default_rng(0).integers(1, 255, (20, 20, 3))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = load_training_set([tmp_path], frame=0.5, frame_size=20)
    np.testing.assert_array_equal(found.images[0], pixels[10:30, 10:30].transpose(2, 0, 1))


def test_a_model_looks_at_what_it_was_trained_on(
    training_set: TrainingSet, recipe: Recipe, tmp_path: Path
) -> None:
    make_run(training_set, replace(recipe, frame=0.5, eval_field=0.75)).save(tmp_path)
    assert build_model(tmp_path, name="x").preprocessing.crop == 0.5 * 0.75
    assert build_model(tmp_path, name="x", crop=0.3).preprocessing.crop == 0.3
    authors = load_recipe("wei2022")
    assert authors.frame * authors.eval_field == 180 / 424


def test_recipes_that_come_along_can_be_read() -> None:
    for name in list_recipes():
        recipe = load_recipe(name)
        assert recipe_from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    authors = load_recipe("wei2022")
    assert (authors.architecture, authors.optimizer, authors.lr) == ("wei2022", "sgd", 0.01)
    assert (authors.temperature, authors.symmetric, authors.batch_size) == (0.1, False, 256)


def test_recipes_that_are_wrong_say_where(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("learning_rate = 1\n")
    with pytest.raises(TrainingError, match=r"mine\.toml: unknown keys \['learning_rate'\]"):
        load_recipe(str(file))
    file.write_text("lr = = 1\n")
    with pytest.raises(TrainingError, match=r"mine\.toml: "):
        load_recipe(str(file))
    file.write_text("average = 1.0\n")
    with pytest.raises(TrainingError, match=r"average lies in 0 to 1, not 1\.0"):
        load_recipe(str(file))
    file.write_text("nt_xent_weight = 0.0\n")
    with pytest.raises(TrainingError, match="a recipe needs a loss"):
        load_recipe(str(file))
    file.write_text("views_per_image = 1\n")
    with pytest.raises(TrainingError, match="views_per_image is 2 or more"):
        load_recipe(str(file))
    file.write_text("views_per_image = 4\nvicreg_weight = 1.0\n")
    with pytest.raises(TrainingError, match="not for VICReg"):
        load_recipe(str(file))
    file.write_text("lr = -1.0\n")
    with pytest.raises(TrainingError, match="lr must be positive"):
        load_recipe(str(file))
    with pytest.raises(TrainingError, match="no recipe 'best'; there are contrastive"):
        load_recipe("best")
    with pytest.raises(TrainingError, match="cannot be read"):
        load_recipe(str(tmp_path / "none.toml"))
    file.write_bytes(b'optimizer = "\xff"')
    with pytest.raises(TrainingError, match=r"mine\.toml: the recipe cannot be read .*utf-8"):
        load_recipe(str(file))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('architecture = "resnet50"', "no architecture 'resnet50'; there are fused_fast, wei2022"),
        ("batch_size = 128.0", "batch_size is a whole number, not 128.0"),
        ("frame_size = true", "frame_size is a whole number, not True"),
        ("batch_size = 1", "batch_size is 2 or more, not 1"),
        ("frame = 0", "frame must be positive, not 0"),
        ("frame = 1.5", "frame is a part of each image, at most 1"),
        ("frame_size = 0", "frame_size must be positive"),
        ("eval_field = -1", "eval_field must be positive"),
        ("lr = nan", "lr must be positive, not nan"),
        ("epochs = 1e308", r"epochs is 1e\+06 at most, not 1e\+308"),
        (f"lr = {'[' * 9000}", "maximum recursion depth exceeded"),
        ("nt_xent_weight = -1", "nt_xent_weight must be 0 or positive, not -1"),
        ("nt_xent_weight = nan", "nt_xent_weight must be 0 or positive, not nan"),
        ("vicreg_weight = -1", "vicreg_weight must be 0 or positive, not -1"),
        ("vicreg_weight = inf", "vicreg_weight must be 0 or positive, not inf"),
        ("sup_con_weight = -0.5", "sup_con_weight must be 0 or positive, not -0.5"),
        ("cross_entropy_weight = nan", "cross_entropy_weight must be 0 or positive, not nan"),
        ("weight_decay = -1e-4", "weight_decay must be 0 or positive, not -0.0001"),
        ("momentum = 1.0", "momentum lies in 0 to 1, not 1.0"),
        ("warmup = 3.0", "warmup lies in 0 to 1, not 3.0"),
        ("warmup = nan", "warmup lies in 0 to 1, not nan"),
        ("final_lr = -1.0", "final_lr lies in 0 to 1, not -1.0"),
        ("final_lr = 1.5", "final_lr lies in 0 to 1, not 1.5"),
        ('lr = "1e-3"', "the recipe has a wrong value: .*'str'"),
        ("std = [0, 0, 0]", "mean and std are three numbers each, and std positive"),
        ("std = [1, 1]", "mean and std are three numbers each"),
        ("std = 1", "the recipe has a wrong value: "),
        ("mean = [0.1]", "mean and std are three numbers each"),
        ("views = 3", r"the recipe has a wrong value: \[views\] is a section, not 3"),
        ("[views]\nscale = 0.5", "the recipe has a wrong value: "),
        ('[views]\nshift = "a"', "the recipe has a wrong value: shift is a number, .*not 'a'"),
        ("[views]\nnoise = -1", "the recipe has a wrong value: noise is a number, 0 or positive"),
        ('symmetric = "no"', "symmetric is true or false, not 'no'"),
        ("symmetric = 0", "symmetric is true or false, not 0"),
        ("mean = [nan, 0, 0]", "mean and std are three numbers each"),
        ('mean = ["a", 0, 0]', "the recipe has a wrong value: "),
    ],
)
def test_wrong_values_of_recipes_are_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(TrainingError, match=rf"mine\.toml: {message}"):
        load_recipe(str(file))
    file.write_text("epochs = " + "9" * 5000)
    with pytest.raises(TrainingError, match="digits"):
        load_recipe(str(file))
