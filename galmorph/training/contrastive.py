"""Contrastive pretraining, step by step, with exact resume.

Random numbers of step *i* are seeded by (seed, i), the order of epoch *e* by (seed, e).
"""

import hashlib
import json
import math
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from galmorph.encoders.fused import Expander, ProjectionHead
from galmorph.encoders.registry import create_encoder
from galmorph.errors import TrainingError
from galmorph.training.checkpoint import load_checkpoint, save_checkpoint
from galmorph.training.data import TrainingSet
from galmorph.training.losses import classifier_loss, nt_xent, sup_con, vicreg
from galmorph.training.measures import compute_measures, to_normal_scores
from galmorph.training.ranks import Ranks
from galmorph.training.recipe import Recipe, recipe_from_dict
from galmorph.training.views import make_views

ALONE = Ranks()


def _seeded(device: torch.device, *numbers: int) -> torch.Generator:
    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator(device=device).manual_seed(seed)


def compute_lr(step: int, steps: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down towards ``final_lr`` times the peak."""
    warmup = max(1, round(recipe.warmup * steps))
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    phase = (step - warmup) / max(1, steps - warmup)
    low = recipe.lr * recipe.final_lr
    return low + (recipe.lr - low) * 0.5 * (1 + math.cos(math.pi * phase))


def _make_optimizer(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    lr, decay = recipe.lr, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=recipe.momentum, weight_decay=decay)
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=decay)


def _check_batches(data: TrainingSet, recipe: Recipe, ranks: Ranks) -> None:
    """Refuse what the recipe cannot learn from, and batches that the processes cannot share."""
    if len(data) < recipe.batch_size:
        raise TrainingError(
            f"{len(data)} images do not fill a batch of {recipe.batch_size}; "
            "give more images or a recipe with a smaller batch_size"
        )
    if recipe.batch_size % ranks.count:
        raise TrainingError(
            f"{ranks.count} processes cannot share batches of {recipe.batch_size} evenly; set "
            "--batch-size to a multiple"
        )
    if recipe.guided and not data.has_two_classes():
        raise TrainingError(
            "the recipe learns from labels, and no source has labels of two classes for it: "
            "put the images of each class into a folder of its own, all of these folders into "
            "one source, or name the column of the classes with --label-column"
        )


class PretrainingRun:
    """State of one run: networks, optimizer, step; ``init`` holds states to start from."""

    def __init__(
        self,
        data: TrainingSet,
        recipe: Recipe,
        *,
        seed: int = 0,
        device: str = "cpu",
        precision: str = "bfloat16",
        init: dict[str, Any] | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.data, self.recipe, self.seed = data.hold_out(recipe.hold_out), recipe, seed
        _check_batches(self.data, recipe, ranks)
        self.device, self.precision, self.ranks = torch.device(device), precision, ranks
        torch.manual_seed(seed)
        self.encoder = create_encoder(recipe.architecture).to(self.device)
        self.encoder = self.encoder.to(memory_format=torch.channels_last)
        features: int = self.encoder.num_features  # type: ignore[assignment]
        self.projection: nn.Module = ProjectionHead(features).to(self.device)
        if init is not None:
            self.encoder.load_state_dict(init["encoder"])
            if "projection" in init:
                self.projection.load_state_dict(init["projection"])
        self.classifiers = self._make_classifiers().to(self.device)
        expands = recipe.vicreg_weight > 0
        self.expander: nn.Module = Expander(features) if expands else nn.Identity()
        self.expander.to(self.device)
        self.gauges = self._make_gauges(features // 2).to(self.device)
        networks = (self.encoder, self.projection, self.expander)
        self.encoder, self.projection, self.expander = map(ranks.share_batch_norm, networks)
        self.kept = nn.ModuleDict({"encoder": self.encoder, "projection": self.projection})
        others = {"classifiers": self.classifiers, "expander": self.expander, "gauges": self.gauges}
        self.networks: dict[str, nn.Module] = {**dict(self.kept.items()), **others}
        self.parameters = [p for n in self.networks.values() for p in n.parameters()]
        self.optimizer = _make_optimizer(self.parameters, recipe)
        self.average: AveragedModel | None = None
        if recipe.average > 0:
            update = get_ema_multi_avg_fn(recipe.average)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(self.kept, multi_avg_fn=update, use_buffers=True)
        self.steps_per_epoch = len(data) // recipe.batch_size
        self.steps = recipe.count_steps(len(data))
        self.step = 0
        self.mean = torch.tensor(recipe.mean, device=self.device).reshape(1, 3, 1, 1)
        self.std = torch.tensor(recipe.std, device=self.device).reshape(1, 3, 1, 1)
        self._epoch_order: tuple[int, Tensor] | None = None

    def _make_classifiers(self) -> nn.ModuleList:
        """One linear classifier for each source with two classes or more; others are empty."""
        if self.recipe.cross_entropy_weight == 0:
            return nn.ModuleList()
        features: int = self.encoder.num_features  # type: ignore[assignment]
        counts = [len(names) for names in self.data.class_names]
        return nn.ModuleList(nn.Linear(features, n) if n > 1 else nn.Identity() for n in counts)

    def _make_gauges(self, features: int) -> nn.ModuleList:
        """A linear map from each branch to the measures of the clean cutouts, made here."""
        if self.recipe.measures_weight == 0:
            return nn.ModuleList()
        measures = compute_measures(torch.from_numpy(self.data.images))
        self.measures = to_normal_scores(measures).to(self.device)
        return nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm1d(features, affine=False), nn.Linear(features, measures.shape[1])
            )
            for _ in range(2)
        )

    @property
    def kept_encoder(self) -> nn.Module:
        """The encoder as it will be kept: averaged, where the recipe says so."""
        if self.average is None:
            return self.encoder
        averaged: nn.Module = self.average.module["encoder"]  # type: ignore[index]
        return averaged

    def batch_indices(self, step: int) -> Tensor:
        """Rows of the data in step number ``step``."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._epoch_order is None or self._epoch_order[0] != epoch:
            generator = _seeded(torch.device("cpu"), self.seed, 1, epoch)
            self._epoch_order = (epoch, torch.randperm(len(self.data), generator=generator))
        start = position * self.recipe.batch_size
        return self._epoch_order[1][start : start + self.recipe.batch_size]

    def compute_loss(self, images: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Loss of the whole batch, whose rows of the data are given; images are one's own share."""
        recipe, each = self.recipe, self.recipe.views_per_image
        size: int = self.encoder.img_size  # type: ignore[assignment]
        views = make_views(
            images.repeat(each, 1, 1, 1), img_size=size, options=recipe.views, generator=generator
        )
        views = ((views - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        bfloat16 = self.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16):
            embedding = self.encoder(views)
            z = self.projection(embedding)
            y = self.expander(embedding)
        z = self.ranks.gather(nn.functional.normalize(z.float(), dim=1), each)
        loss = z.new_zeros(())
        if recipe.nt_xent_weight > 0:
            loss = recipe.nt_xent_weight * self._tell_apart(z)
        if recipe.vicreg_weight > 0:
            y1, y2 = self.ranks.gather(y.float(), each).chunk(2)
            loss = loss + recipe.vicreg_weight * vicreg(y1, y2)
        if recipe.measures_weight > 0:
            loss = loss + recipe.measures_weight * self._gauge(embedding, rows)
        return loss + self._guide(embedding, z, rows) if recipe.guided else loss

    def _tell_apart(self, z: Tensor) -> Tensor:
        """NT-Xent; of more than two views per image, each has several positives."""
        recipe, each = self.recipe, self.recipe.views_per_image
        if each == 2:
            z1, z2 = z.chunk(2)
            return nt_xent(z1, z2, temperature=recipe.temperature, symmetric=recipe.symmetric)
        image = torch.arange(len(z) // each, device=z.device).repeat(each)
        return sup_con(z, image, torch.zeros_like(image), temperature=recipe.temperature)

    def _gauge(self, embedding: Tensor, rows: Tensor) -> Tensor:
        """How far each branch is from telling the measures, mean of both."""
        each = self.recipe.views_per_image
        branches = self.ranks.gather(embedding.float(), each).chunk(2, dim=1)
        true = self.measures[rows.to(self.device)].repeat(each, 1)
        told = torch.stack([g(x) for g, x in zip(self.gauges, branches, strict=True)])
        return nn.functional.mse_loss(told, true.expand_as(told))

    def _guide(self, embedding: Tensor, z: Tensor, rows: Tensor) -> Tensor:
        """What the labels add to the loss; the embedding is of this process's views alone."""
        recipe, each = self.recipe, self.recipe.views_per_image
        labels = torch.from_numpy(self.data.labels)[rows].to(self.device).repeat(each)
        domains = torch.from_numpy(self.data.domains)[rows].to(self.device).repeat(each)
        loss = z.new_zeros(())
        if recipe.sup_con_weight > 0:
            guided = sup_con(z, labels, domains, temperature=recipe.sup_con_temperature)
            loss = loss + recipe.sup_con_weight * guided
        if recipe.cross_entropy_weight > 0:
            whole = self.ranks.gather(embedding.float(), each)
            told = classifier_loss(self.classifiers, whole, labels, domains)
            loss = loss + recipe.cross_entropy_weight * told
        return loss

    def advance(self) -> tuple[float, float]:
        """Take one step; its loss and learning rate. No weight changes by a loss not finite."""
        rows = self.batch_indices(self.step)
        images = torch.from_numpy(self.data.images[self.ranks.share(rows).numpy()]).to(self.device)
        generator = _seeded(self.device, self.seed, 2, self.step, self.ranks.rank)
        lr = compute_lr(self.step, self.steps, self.recipe)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.encoder.train()
        self.projection.train()
        loss = self.compute_loss(images, rows, generator)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(f"the loss of step {self.step + 1} is {value}")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.ranks.average_gradients(self.parameters)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.kept)
        self.step += 1
        return value, lr

    @cached_property
    def _pixels_crc(self) -> int:
        """CRC-32 of all images: of stacks, the names are the same whatever the file."""
        crc = 0
        for image in self.data.images:
            crc = zlib.crc32(image.tobytes(), crc)
        return crc

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to belong to this run."""
        found = {
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "images": len(self.data),
            "names": _digest("\n".join(self.data.names)),
            "object_ids": _digest("\n".join(self.data.object_ids)),
            "domains": _digest(self.data.domains.tolist()),
            "pixels": self._pixels_crc,
        }
        if self.recipe.guided:
            found["labels"] = _digest(self.data.labels.tolist())
        if self.data.treatment:  # compared by the pixels
            found["treatment"] = dict(self.data.treatment)
        return found

    def save(self, folder: Path) -> None:
        """Write the checkpoint, whole or not at all: not with a weight that is not finite."""
        tensors = [t for n in self.networks.values() for t in n.state_dict().values()]
        if not all(bool(t.isfinite().all()) for t in tensors if t.is_floating_point()):
            raise TrainingError(f"a weight is not finite after step {self.step}")
        state = {
            **{name: network.state_dict() for name, network in self.networks.items()},
            "average": self.average.state_dict() if self.average is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "fingerprint": json.dumps(self.fingerprint(), sort_keys=True),
        }
        save_checkpoint(folder, state)

    def restore(self, folder: Path) -> None:
        """Go on from the checkpoint in ``folder``, unless it is of another recipe, seed or data."""
        state = load_checkpoint(folder)
        different = _compare(json.loads(state["fingerprint"]), self.fingerprint())
        if different:
            raise TrainingError(
                f"{folder}: the checkpoint belongs to a run with another {different}; resume with "
                "the same recipe, seed and data, or start a new run in another folder (--init "
                "takes weights over)"
            )
        for name, network in self.networks.items():
            network.load_state_dict(state.get(name, {}))
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def _digest(values: object) -> str:
    return hashlib.sha256(str(values).encode("utf-8", "surrogateescape")).hexdigest()


def _compare(stored: dict[str, Any], own: dict[str, Any]) -> str:
    """What differs between two fingerprints, in words; "" for nothing. What is missing is equal."""
    if recipe_from_dict(stored["recipe"]) != recipe_from_dict(own["recipe"]):
        return "recipe"
    words = {
        "seed": "seed",
        "images": "number of images",
        "names": "list of images",
        "object_ids": "list of object_ids",
        "domains": "list of sources",
        "pixels": "content of the images",
        "labels": "choice of labels",
    }
    return next((w for k, w in words.items() if k in stored and stored[k] != own[k]), "")
