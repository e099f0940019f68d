"""A head trains on batches of its recipe's size, and refuses contradicting settings."""

import pytest
import torch

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.train.losses import MiLaNLoss
from geohash_rs.hashing.train.on_features import train_head
from geohash_rs.hashing.train.recipes import RECIPES
from geohash_rs.hashing.train.task import HashingTask
from geohash_rs.metrics import mean_average_precision


@pytest.fixture
def features():
    return torch.rand(200, 1, 6, generator=torch.Generator().manual_seed(0))


def test_the_papers_batches_are_thirty_triplets_for_several_labels_too(features, monkeypatch):
    sizes = []
    plain = MiLaNLoss.forward

    def forward(loss, activations, labels, **more):
        sizes.append(len(activations))
        return plain(loss, activations, labels, **more)

    monkeypatch.setattr(MiLaNLoss, "forward", forward)
    several = torch.nn.functional.one_hot(torch.arange(200) % 3)
    recipe = RECIPES["paper"].with_(hidden=(4,), iterations=2)
    for labels in (several, several.argmax(1)):
        train_head(features, labels, num_bits=8, recipe=recipe)
    assert sizes == [90, 90, 90, 90]


def test_components_without_standardised_features_are_refused():
    with pytest.raises(TrainingError, match="components=4 needs standardise=True"):
        RECIPES["paper"].with_(components=4)
    with pytest.raises(TrainingError, match="components=4 needs standardise=True"):
        HashingTask(model="test_resnet", weights=False, components=4, standardise=False)


def test_a_whitening_that_could_not_work_is_refused():
    with pytest.raises(TrainingError, match=r"whitening=0.5 with components=0"):
        RECIPES["paper"].with_(whitening=0.5)
    with pytest.raises(TrainingError, match=r"whitening=2 with components=384"):
        RECIPES["milan"].with_(whitening=2)


def test_labels_may_be_a_list_and_a_recipe_a_name(features, monkeypatch):
    monkeypatch.setitem(RECIPES, "small", RECIPES["paper"].with_(hidden=(4,), iterations=2))
    labels = torch.arange(200) % 3
    plain, _ = train_head(features, labels, num_bits=8, recipe=RECIPES["small"])
    named, _ = train_head(features, labels.tolist(), num_bits=8, recipe="small")
    assert torch.equal(plain(features[:, 0]), named(features[:, 0]))
    halves = labels == 1
    marked, _ = train_head(features, halves, num_bits=8, recipe="small")
    counted, _ = train_head(features, halves.long(), num_bits=8, recipe="small")
    assert torch.equal(marked(features[:, 0]), counted(features[:, 0]))
    with pytest.raises(TrainingError, match="there is no recipe 'large'; use one of paper"):
        train_head(features, labels, num_bits=8, recipe="large")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["lake"] * 200, "labels are list that make no tensor .* number of each tile's class"),
        ([0.5] * 200, "labels are float32, such as 0.5; number the classes from 0"),
        ([-1] * 200, "labels are int64, such as -1; number the classes from 0"),
        ([0, 1] * 50, "there are 100 labels; use"),
        ([[0], [1]] * 100, r"shape \(200, 1\) have a single column.* pass labels.flatten"),
        ([[0, 2]] * 200, "200 tiles have other values, such as 2; pass for example"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_labels_that_number_no_class_are_refused(features, labels, words):
    recipe = RECIPES["paper"].with_(hidden=(4,), iterations=2)
    with pytest.raises(TrainingError, match=words):
        train_head(features, labels, num_bits=8, recipe=recipe)


def test_features_that_are_no_tensor_are_refused(features):
    with pytest.raises(TrainingError, match="features are ndarray; pass a tensor, such as"):
        train_head(features.numpy(), [0, 1] * 100, num_bits=8, recipe="paper")


def test_a_projection_that_could_not_work_is_refused():
    with pytest.raises(TrainingError, match="itq=2 with components=0"):
        RECIPES["paper"].with_(itq=2)
    with pytest.raises(TrainingError, match="itq=-1 with components=384"):
        RECIPES["milan"].with_(itq=-1)
    with pytest.raises(TrainingError, match="itq=nan with components=384"):
        RECIPES["milan"].with_(itq=float("nan"))
    assert RECIPES["milan-open"].with_(components=0).head.itq == 0


def test_the_projection_finds_classes_that_training_did_not_see():
    generator = torch.Generator().manual_seed(0)

    labels = torch.arange(4).repeat_interleave(30)
    known = torch.randn(120, 24, generator=generator) * 2
    known[:, :4] += 8 * torch.eye(4)[labels]  # only four features matter to the known classes
    classes = torch.arange(6).repeat_interleave(30)
    means = torch.randn(6, 24, generator=generator) * 3
    means[:, :4] = 0  # and none of them to the others
    unseen = means[classes] + torch.randn(180, 24, generator=generator)
    found = {}
    for name in ("milan", "milan-open"):
        recipe = RECIPES[name].with_(keep=0.0, iterations=300)
        recipe = recipe.with_(train_views=("identity",), classes_per_batch=4)
        head, _ = train_head(known[:, None], labels, num_bits=16, recipe=recipe)
        with torch.no_grad():
            signs = torch.where(head(unseen) > 0.5, 1.0, -1.0)
        distances = ((16 - signs @ signs.T) / 2).fill_diagonal_(torch.inf).double().numpy()
        relevant = (classes[:, None] == classes).numpy()
        found[name] = mean_average_precision(distances, relevant, k=20)
    assert found["milan-open"] > found["milan"] + 0.1, found
