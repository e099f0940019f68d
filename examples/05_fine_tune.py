"""Fine-tune the last stages of EfficientNet-Lite0 on a CPU, from feature maps computed once.

    python examples/05_fine_tune.py data/ucmerced tuned-32.safetensors --cache features

The folder holds UC Merced with its split lists, as TorchGeo's UCMercedDataModule fetches it.
The stem, stages 0 to 4 and the first block of stage 5 stay frozen, so their output is computed once
for every view and kept in the cache. A head is first trained on frozen features, then together with
the last stages, whose input is cropped at random. An interrupted run resumes from the cache. With
--validate, a quarter of the training part is measured instead of the test part.
"""

import argparse
import copy
import dataclasses
import functools
import hashlib
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from geohash_rs import Hasher
from geohash_rs.evaluate import Ranker, Trial, fit_head, make_features, make_trials
from geohash_rs.hashing import (
    VIEWS,
    ClassBalancedSampler,
    ClassFolders,
    CpuRuntime,
    LossSettings,
    MiLaNLoss,
    get_recipe,
    split_by_class,
    view,
)


class Trunk(nn.Module):
    """The frozen part: stem, stages 0 to 4, and the first block of stage 5."""

    def __init__(self, network):
        super().__init__()
        self.in_chans, self.model_name = 3, "trunk"
        self.layers = nn.Sequential(
            network.conv_stem, network.bn1, *network.blocks[:5], network.blocks[5][0]
        )

    def forward(self, images):
        """Compute the maps of stage 5's first block."""
        return self.layers(images)


class Last(nn.Module):
    """The trained part: the rest of stage 5, stage 6 and the last convolution."""

    def __init__(self, network):
        super().__init__()
        self.stage5 = nn.Sequential(*network.blocks[5][1:])
        self.stage6 = network.blocks[6]
        self.top = nn.Sequential(network.conv_head, network.bn2, network.global_pool)

    def forward(self, maps, fixed):
        """Compute the features of the backbone; `fixed` holds those of stages 3 and 4."""
        fifth = self.stage5(maps)
        sixth = self.stage6(fifth)
        return torch.cat([self.top(sixth), fixed, fifth.mean((2, 3)), sixth.mean((2, 3))], 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root")
    parser.add_argument("output", help="hasher to write, .safetensors")
    parser.add_argument("--cache", required=True, help="folder for features, maps and checkpoints")
    parser.add_argument("--bits", type=int, default=32)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--lr", type=float, default=2e-4, help="learning rate of the last stages")
    parser.add_argument("--head-lr", type=float, default=1e-4, help="learning rate of the head")
    parser.add_argument("--noise", type=float, default=0.0, help="noise on the features")
    parser.add_argument("--least-crop", type=int, default=5, help="smallest crop, of 8 px")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--iterations", type=int, help="of the first training of the head")
    parser.add_argument("--input-size", type=int, default=256)
    parser.add_argument("--validate", action="store_true")
    args = parser.parse_args()
    began = time.time()
    tiles = ClassFolders.open(args.root)
    recipe = get_recipe("milan").with_(input_size=args.input_size)
    if args.iterations:
        recipe = recipe.with_(iterations=args.iterations)
    features = make_features(tiles, recipe.features, precision="fp32", cache=args.cache)
    (trial,) = make_trials(tiles, "paper")
    rows = trial.train
    if args.validate:
        fit, rest = split_by_class(tiles.labels[rows], fractions=(0.75,))
        rows, rest = rows[fit], rows[rest]
        trial = Trial(
            protocol="paper", archive="validation", train=rows, queries=rest, searched=rest
        )
    fitted = fit_head(
        "milan", features, tiles, trial, args.bits, recipe=recipe, seed=args.seed, cache=args.cache
    )
    fitted.head.noise = args.noise  # a new head has the recipe's noise, one from the cache none
    report("before", features, fitted.head, tiles, trial)
    backbone = copy.deepcopy(features.extractor.backbone)
    maps = read_maps(tiles, rows, features, Path(args.cache))
    before = features.of(rows, VIEWS)
    head = train(backbone.network, fitted.head, maps, before, tiles.tensor_labels(rows), args)
    backbone.weights = "fine-tuned"
    extractor = dataclasses.replace(features.extractor, backbone=backbone)
    tuned = tuned_features(extractor, tiles, trial)
    figures = report("after", tuned, head, tiles, trial)
    notes = {"figures": figures, "minutes": round((time.time() - began) / 60, 1)}
    hasher = Hasher(extractor, head, views=VIEWS, name=Path(args.output).stem, notes=notes)
    hasher.save(args.output)


def report(name, features, head, tiles, trial):
    """Print mAP@20 for one pass and for activations averaged over four and eight views."""
    figures = {}
    for count in (1, 4, 8):
        ranker = Ranker(features=features, head=head, views=VIEWS[:count])
        value = ranker.measure(tiles.labels, trial)["map@20"]
        figures[f"map@20, {count} passes"] = round(value, 4)
    print(name, json.dumps(figures), flush=True)
    return figures


def tuned_features(extractor, tiles, trial):
    """Compute the features of the queries; those of other tiles stay zero."""
    features = make_empty(extractor, len(tiles))
    extractor.accelerate()
    position = 0
    for batch in tiles.take(trial.queries).batches():
        chosen = trial.queries[position : position + len(batch)]
        for number, name in enumerate(VIEWS):
            features.values[chosen, number] = extractor.features(view(batch, name))
        position += len(batch)
    return features


def make_empty(extractor, count):
    from geohash_rs.evaluate import Features

    values = torch.zeros(count, len(VIEWS), extractor.backbone.num_features)
    return Features(views=VIEWS, values=values, extractor=extractor)


def read_maps(tiles, rows, features, cache):
    """Compute or read the output of the trunk: float16, shape (tiles, views, 192, side, side)."""
    about = [str(tiles.paths[i].relative_to(tiles.root)) for i in rows]
    key = json.dumps([about, features.extractor.input_size, features.extractor.scaling.to_dict()])
    path = cache / f"maps-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
    if path.is_file():
        return torch.from_numpy(np.load(path))
    trunk = Trunk(copy.deepcopy(features.extractor.backbone.network)).eval()
    run = CpuRuntime.build(trunk, input_size=features.extractor.input_size) or trunk
    parts = []
    for batch in tiles.take(rows).batches():
        images = features.extractor.prepare(batch)
        with torch.inference_mode():
            passes = [run(view(images, name).contiguous()) for name in VIEWS]
        parts.append(torch.stack(passes, 1).half())
    maps = torch.cat(parts)
    save_whole(path, lambda file: np.save(file, maps.numpy()))
    return maps


def train(network, fitted, maps, before, labels, args):
    """Train the head and the last stages, from the last checkpoint if there is one."""
    head = copy.deepcopy(fitted).train().requires_grad_()
    last = Last(network).eval().requires_grad_().to(memory_format=torch.channels_last)
    wide = network.conv_head.out_channels
    fixed = before[:, :, wide : before.shape[2] - 192 - 320]
    torch.manual_seed(args.seed)
    loss = MiLaNLoss(
        LossSettings(proxy=1.0, smoothing=0.1),
        num_bits=args.bits,
        num_classes=int(labels.max()) + 1,
    )
    fit_classifier(loss, fitted, before, labels)
    optimizer = torch.optim.AdamW(
        [
            {"params": list(last.parameters()), "lr": args.lr},
            {"params": [*head.parameters(), *loss.parameters()], "lr": args.head_lr},
        ],
        weight_decay=0.05,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [args.lr, args.head_lr], total_steps=args.steps, pct_start=0.1
    )
    sampler = ClassBalancedSampler(
        labels, classes_per_batch=21, samples_per_class=3, num_batches=args.steps, seed=args.seed
    )
    about = json.dumps({**vars(args), "tiles": len(labels)}, sort_keys=True)
    saved = Path(args.cache) / f"tuning-{hashlib.sha256(about.encode()).hexdigest()[:16]}.pt"
    state = {"last": last, "head": head, "loss": loss, "optimizer": optimizer, "rate": schedule}
    done = resume(saved, state)
    for step, chosen in enumerate(sampler):
        if step < done:
            continue
        torch.manual_seed(args.seed * 100_003 + step)  # the same draws in a resumed run
        views = torch.randint(len(VIEWS), (len(chosen),))
        cropped = crop(maps[chosen, views].float(), least=args.least_crop)
        cropped = cropped.contiguous(memory_format=torch.channels_last)
        terms = loss(head(last(cropped, fixed[chosen, views])), labels[chosen])
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        schedule.step()
        if step % 10 == 9 or step + 1 == args.steps:
            values = {name: round(float(value.detach()), 4) for name, value in terms.items()}
            print(step + 1, json.dumps(values), flush=True)
            tensors = {"step": step + 1} | {k: v.state_dict() for k, v in state.items()}
            save_whole(saved, functools.partial(torch.save, tensors))
    return head.eval()


def fit_classifier(loss, head, features, labels, steps=400):
    """Teach the proxy the head as it is, so that its first gradients do not spoil it."""
    with torch.no_grad():
        activations = head(features.flatten(0, 1))
    target = labels.repeat_interleave(features.shape[1])
    optimizer = torch.optim.AdamW(loss.parameters(), 0.01)
    for _ in range(steps):
        rows = torch.randint(len(target), (512,))
        codes = (2 * activations[rows] - 1) * (8 / math.sqrt(activations.shape[1]))
        value = functional.cross_entropy(loss.classifier(codes), target[rows], label_smoothing=0.1)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


def crop(maps, *, least):
    """Cut one random window out of all maps of a batch."""
    side = maps.shape[-1]
    height, width = torch.randint(min(least, side), side + 1, (2,)).tolist()
    top = int(torch.randint(side - height + 1, ()))
    left = int(torch.randint(side - width + 1, ()))
    return maps[:, :, top : top + height, left : left + width]


def save_whole(path, write):
    """Write a file so that it appears whole or not at all, even if the run is interrupted."""
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        write(file)
    part.replace(path)


def resume(path, state):
    if not path.is_file():
        return 0
    found = torch.load(path, weights_only=True)
    for name, part in state.items():
        part.load_state_dict(found[name])
    print(f"resuming at step {found['step']}", flush=True)
    return found["step"]


if __name__ == "__main__":
    main()
