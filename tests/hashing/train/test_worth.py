"""A training is measured next to methods that need none, and a warning says if it loses."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from geohash_rs.hashing.fit.general import general_head
from geohash_rs.hashing.train import worth as module
from geohash_rs.hashing.train.validation import ranking_values
from geohash_rs.hashing.train.worth import (
    NotWorthWarning,
    Worth,
    measure_worth,
    warn_if_not_worth,
    worth_line,
)

BITS = 16
VIEWS = ("identity", "hflip", "rot90")
CLASSES = 4


def made(spread, *, views=3, width=24, tiles=120):
    """Make features whose first directions hold the class and whose others hold noise.

    Where the noise of a few directions is strong, only labels show which directions matter.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(tiles) % CLASSES
    features = torch.randn(tiles, width, generator=generator)
    features[:, -8:] *= spread
    features[:, :CLASSES] += 4 * functional.one_hot(labels, CLASSES)
    turned = 0.1 * torch.randn(tiles, views, width, generator=generator)
    return features[:, None] + turned, labels


def codes_of(labels):
    """Make codes that a perfect training would give: those of one class are the same."""
    words = torch.rand(CLASSES, BITS, generator=torch.Generator().manual_seed(1)) > 0.5
    return words[labels]


def measure(features, labels, codes, *, parts=(24,), stages=(), views=VIEWS, **settings):
    """Learn from the first half of the tiles and measure the second."""
    half = len(features) // 2
    return measure_worth(
        features[:half],
        features[half:, 0],
        learned_labels=labels[:half],
        labels=labels[half:],
        codes=codes[half:],
        backbone=SimpleNamespace(parts=parts, stages=stages),
        views=views,
        **settings,
    )


def precision_by_hand(distances, labels, k):
    """Compute mAP@k by plain loops, for distances without ties."""
    values = []
    for query, row in enumerate(distances):
        near = [i for i in np.argsort(row) if i != query][:k]
        right = np.array([labels[i] == labels[query] for i in near])
        found = np.cumsum(right) / np.arange(1, len(near) + 1)
        values.append(found[right].mean() if right.any() else 0.0)
    return float(np.mean(values))


def test_a_training_that_found_the_classes_is_worth_it():
    features, labels = made(20.0, tiles=400)
    worth = measure(features, labels, codes_of(labels), k=10)
    assert list(worth.figures) == ["trained", "general-16", "float", "classifier"]
    assert worth.figures["trained"] == 1
    assert worth.figures["general-16"] < 0.6
    assert worth.figures["float"] < 0.6
    assert worth.figures["classifier"] > 0.8
    line = worth_line(worth)
    assert line.startswith("mAP@10 of 200 validation tiles: trained 1.000, general-16 0.")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_not_worth(worth)


def test_a_training_that_loses_to_none_is_warned_of():
    features, labels = made(1.0)
    codes = torch.rand(len(labels), BITS, generator=torch.Generator().manual_seed(2)) > 0.5
    worth = measure(features, labels, codes)
    general, own = worth.figures["general-16"], worth.figures["float"]
    assert min(general, own) > worth.figures["trained"] + 0.2
    said = (
        rf"mAP@20 of 60 validation tiles is {worth.figures['trained']:.3f} with the trained codes, "
        rf"but general-16 {general:.3f} and float {own:.3f} without training\. Check the labels.*"
        r"or use general-16, which needs no labels"
    )
    with pytest.warns(NotWorthWarning, match=said):
        warn_if_not_worth(worth)


@pytest.mark.parametrize(("error", "warned"), [(0.04, True), (0.06, False)])
def test_noise_and_a_better_classifier_are_not_warned_of(error, warned):
    worth = Worth(
        figures={"trained": 0.5, "float": 0.6, "classifier": 0.9},
        errors={"float": error, "classifier": 0.01},
        k=20,
        num_queries=9,
        num_searched=9,
        num_tiles=9,
    )
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warn_if_not_worth(worth)
    assert len(seen) == warned
    assert all("float 0.600 without training" in str(one.message) for one in seen)


def test_figures_equal_those_of_validation_and_of_plain_loops():
    features, labels = made(3.0)
    generator = torch.Generator().manual_seed(3)
    codes = codes_of(labels) ^ (torch.rand(len(labels), BITS, generator=generator) < 0.2)
    worth = measure(features, labels, codes, parts=(16, 8), stages=("layer2",), k=7)
    half = len(labels) // 2
    expected = ranking_values(codes[half:], labels[half:], k=7)["map"]
    assert worth.figures["trained"] == pytest.approx(expected, abs=1e-12)
    own = functional.normalize(features[half:, 0, :16], dim=1).double()
    by_hand = precision_by_hand((1 - own @ own.T).numpy(), labels[half:].numpy(), 7)
    assert worth.figures["float"] == pytest.approx(by_hand, abs=1e-12)


def test_the_general_head_sees_its_stages_of_two_views_of_the_training_tiles():
    features, labels = made(5.0)
    stages = ("blocks.4", "blocks.3", "blocks.5")
    worth = measure(features, labels, codes_of(labels), parts=(8, 4, 8, 4), stages=stages)
    columns = [*range(8), *range(20, 24), *range(8, 12)]
    half = len(labels) // 2
    head = general_head(
        features[:half, 0, columns], features[:half, [0, 2]][:, :, columns],
        num_bits=BITS, parts=(8, 4, 4),
    )  # fmt: skip
    bits = head(features[half:, 0, columns]) > 0.5
    expected = ranking_values(bits, labels[half:], k=20)["map"]
    assert worth.figures["general-16"] == pytest.approx(expected, abs=1e-12)


def test_one_view_leaves_iterative_quantisation_and_several_labels_no_classifier():
    features, labels = made(1.0, views=1)
    several = functional.one_hot(labels, CLASSES + 1)
    several[::3, CLASSES] = 1
    worth = measure(features, several, codes_of(labels), views=("identity",))
    assert list(worth.figures) == ["trained", "itq-16", "float"]
    assert worth_line(worth).endswith(" (without classifier: tiles have several labels each)")
    half = len(labels) // 2
    expected = ranking_values(codes_of(labels)[half:], several[half:], k=20)["map"]
    assert worth.figures["trained"] == pytest.approx(expected, abs=1e-12)


def test_what_cannot_be_measured_is_left_out():
    features, labels = made(1.0)
    codes = codes_of(labels)
    few = measure(features[:30], labels[:30], codes[:30])
    assert list(few.figures) == ["trained", "float", "classifier"]
    assert few.left_out == {"general-16": "15 training tiles are too few for 16 bits"}
    narrow = measure(features[:, :, :8], labels, codes, parts=(8,))
    assert "from 8 features" in narrow.left_out["general-16"]
    alike = measure(torch.ones_like(features), labels, codes)
    assert "identical" in alike.left_out["general-16"]
    taught = torch.cat([torch.zeros(60).long(), labels[60:]])
    one_class = measure(features, taught, codes)
    assert one_class.left_out == {"classifier": "the 60 training tiles have 1 class"}


@pytest.mark.parametrize(
    "labels",
    [torch.zeros(120).long(), torch.arange(120), torch.zeros(120, 3).long(), torch.arange(2)],
    ids=["one class", "classes of one tile", "no labels", "one tile"],
)
def test_a_validation_part_that_cannot_tell_right_from_wrong_gives_no_figures(labels):
    features, _ = made(1.0)
    count = len(labels)
    worth = measure(features[:count], labels, torch.zeros(count, BITS) > 0)
    assert worth.figures == {}
    assert worth_line(worth).endswith(
        "was not measured: no tile has both another tile of its class and one of another class"
    )
    warn_if_not_worth(worth)  # warnings are errors


def test_many_tiles_are_sampled_and_the_line_says_so(monkeypatch):
    features, labels = made(1.0)
    for name, most in (("FITTED", 30), ("CLASSIFIED", 40), ("SEARCHED", 50), ("QUERIES", 20)):
        monkeypatch.setattr(module, f"MOST_{name}", most)
    seen = []

    def fit(plain, both, **settings):
        seen.append(len(plain))
        return general_head(plain, both, **settings)

    monkeypatch.setattr(module, "general_head", fit)
    worth = measure(features, labels, codes_of(labels))
    assert worth_line(worth).startswith("mAP@20 of 20 queries among 50 of 60 validation tiles: ")
    assert worth.figures["trained"] == 1
    assert seen == [30]


def test_it_measures_without_gradients_and_leaves_the_random_state_alone():
    features, labels = made(3.0)
    expected = measure(features, labels, codes_of(labels)).figures
    torch.manual_seed(7)
    following = torch.rand(1)
    torch.manual_seed(7)
    with torch.inference_mode():
        kept = features.clone()
        figures = measure(kept, labels, codes_of(labels)).figures
    assert kept.is_inference()
    assert figures == expected
    assert torch.equal(torch.rand(1), following)
