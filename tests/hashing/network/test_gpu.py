"""What a GPU is given and in which order, tested without one."""

import json
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from geohash_rs import Hasher
from geohash_rs.errors import HasherError
from geohash_rs.hashing import extractor as extractor_module
from geohash_rs.hashing.extractor import Extractor
from geohash_rs.hashing.fit.training_free import fit_hasher
from geohash_rs.hashing.network import gpu
from geohash_rs.hashing.network.folded import Convolution
from geohash_rs.hashing.network.gpu import copied, fetched, tiles_at_once
from geohash_rs.hashing.network.heads import MiLaN
from geohash_rs.hashing.network.preparation import WholePreparation, whole_preparation
from tests.benchmarks import gpu as script

VIEWS = ("hflip", "identity", "rot90")


@pytest.fixture(scope="module")
def many():
    rng = np.random.default_rng(0)
    waves = rng.normal(0, 1, (12, 3, 48, 48)).cumsum(-1).cumsum(-2)
    scaled = waves / np.abs(waves).max(axis=(1, 2, 3), keepdims=True)
    return torch.from_numpy(np.clip(127 + 110 * scaled, 0, 255).astype(np.uint16))


@pytest.fixture(scope="module")
def fitted(many):
    return fit_hasher([many], num_bits=16, input_size=64, views=VIEWS)


@pytest.fixture
def on_a_pretended_gpu(monkeypatch):
    """Make copies of hashers that take the way of a GPU, five tiles at a time, but compute here."""
    sizes = []
    prepare = Extractor.prepare

    def record(batches, device):
        assert device.type == "cuda"
        for batch in batches:
            sizes.append((len(batch), batch.dtype))
            yield batch

    monkeypatch.setattr(extractor_module, "copied", record)
    monkeypatch.setattr(extractor_module, "mixed_precision", lambda _: nullcontext())
    monkeypatch.setattr(gpu, "INPUT_PIXELS", 5 * 64**2)
    monkeypatch.setattr(
        Extractor, "prepare", lambda self, tiles: prepare(replace(self, device="cpu"), tiles)
    )

    def pretend(hasher):
        moved = Hasher.from_bytes(hasher.to_bytes())
        object.__setattr__(moved.extractor, "device", torch.device("cuda"))
        return moved, sizes

    return pretend


@pytest.mark.parametrize(
    ("shape", "input_size", "wanted"),
    [
        ((3, 64, 64), 128, 256),
        ((3, 256, 256), 224, 83),
        ((13, 1024, 1024), 224, 4),  # 2^26 values as read, at most
        ((3, 64, 64), 4096, 1),
        ((13, 8000, 8000), 224, 1),
    ],
)
def test_batches_are_bounded_by_pixels_of_the_input_and_of_the_tiles(shape, input_size, wanted):
    tiles = torch.empty(0, *shape, dtype=torch.uint8)
    assert tiles_at_once(tiles, input_size=input_size) == wanted


def test_each_result_is_fetched_after_the_next_batch_has_been_launched():
    log = []

    def launch():
        for number in range(3):
            log.append(f"launch {number}")
            yield torch.tensor(number), torch.tensor(-number)

    for first, second in fetched(launch()):
        log.append(f"fetch {int(first)}")
        assert first == -second
    assert log == ["launch 0", "launch 1", "fetch 0", "launch 2", "fetch 1", "fetch 2"]
    assert list(fetched([])) == []


def test_copies_are_pinned_and_on_a_stream_for_which_the_network_waits(monkeypatch):
    log = []
    computing = SimpleNamespace(wait_stream=lambda stream: log.append(f"wait for {stream}"))

    @contextmanager
    def on_stream(stream):
        log.append(f"on {stream}")
        yield
        log.append(f"off {stream}")

    def pin(batch):
        log.append("pin")
        return batch

    def record_stream(_batch, stream):
        assert stream is computing
        log.append("record")

    monkeypatch.setattr(torch.cuda, "Stream", lambda _: "copies")
    monkeypatch.setattr(torch.cuda, "stream", on_stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: computing)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "record_stream", record_stream)
    batches = [torch.full((2, 3), number, dtype=torch.uint16) for number in range(2)]
    for number, batch in enumerate(copied(iter(batches), torch.device("cpu"))):
        assert log == ["on copies", "pin", "off copies", "wait for copies", "record"]
        assert batch.dtype == torch.uint16
        assert (batch.int() == number).all()
        log.clear()


def test_batches_on_a_gpu_make_the_codes_and_features_of_a_cpu(fitted, many, on_a_pretended_gpu):
    moved, sizes = on_a_pretended_gpu(fitted)
    np.testing.assert_array_equal(moved.codes(many), fitted.codes(many))
    assert sizes == [(5, torch.uint16), (5, torch.uint16), (2, torch.uint16)]
    assert torch.equal(moved.activations(many), fitted.activations(many))
    for mine, theirs in zip(
        moved.codes_and_features(many), fitted.codes_and_features(many), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    assert moved.extractor.runtime is None
    assert moved.codes(many[:0]).shape == (0, 2)


def test_an_error_names_the_tile_among_all_batches(fitted, many, on_a_pretended_gpu):
    moved, _ = on_a_pretended_gpu(fitted)
    broken = many.float()
    broken[9, 1, 7, 7] = torch.nan
    for compute in (moved.codes, moved.codes_and_features):
        with pytest.raises(HasherError, match=r"1 of 12 tiles .*first: tile 9"):
            compute(broken)


def test_the_head_does_not_run_in_the_mixed_precision_of_the_backbone(
    make_small, tiles, monkeypatch
):
    monkeypatch.setattr(
        extractor_module, "mixed_precision", lambda _: torch.autocast("cpu", dtype=torch.bfloat16)
    )
    hasher = make_small(views=("identity", "hflip"))
    hasher = replace(hasher, head=MiLaN(hasher.backbone.num_features, 16))
    seen = []
    hasher.head.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    codes = hasher.codes(tiles)
    assert seen == [False, False]
    np.testing.assert_array_equal(hasher.codes_and_features(tiles)[0], codes)


def in_tf32(values):
    """Round float32 to the 11 digits that TF32 has."""
    if values.dtype != torch.float32:
        return values
    return ((values.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


@pytest.mark.parametrize("size", [48, 200])
def test_products_in_tf32_change_no_pixel(fitted, size, monkeypatch):
    raw = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(size)) * 255
    step = WholePreparation(fitted.scaling, height=size, width=size, input_size=64)
    wanted = step(raw)
    product = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: product(in_tf32(a), in_tf32(b)))
    assert torch.equal(step(raw), wanted)
    rows = torch.full((4, 4), 1 + 2**-12)
    assert not torch.equal(rows @ rows, product(rows, rows))  # the emulation rounds


def test_factors_of_eight_digits_change_no_feature_in_int8(fitted, many, monkeypatch):
    network = fitted.extractor.integer
    pixels = many[:4].float()
    with torch.inference_mode():
        wanted = network(pixels)
        exact = Convolution.apply
        monkeypatch.setattr(
            Convolution,
            "apply",
            lambda self, images, weight: exact(
                self, images.bfloat16().float(), weight.bfloat16().float()
            ),
        )
        assert torch.equal(network(pixels), wanted)


def test_the_preparation_of_a_size_is_made_once(fitted, many, on_a_pretended_gpu):
    moved, _ = on_a_pretended_gpu(fitted)
    whole_preparation.cache_clear()
    moved.codes(many)
    assert whole_preparation.cache_info().misses == 1


def test_the_script_measures_the_union_of_what_the_gpu_computes():
    def event(name, kind, start, end):
        return SimpleNamespace(
            name=name, device_type=kind, time_range=SimpleNamespace(start=start, end=end)
        )

    kinds = torch.autograd.DeviceType
    events = [
        event("conv", kinds.CUDA, 40, 60),
        event("add", kinds.CUDA, 10, 30),
        event("mul", kinds.CUDA, 15, 20),
        event("round", kinds.CUDA, 55, 65),
        event("Memcpy HtoD", kinds.CUDA, 100, 200),
        event("aten::add", kinds.CPU, 0, 300),
    ]
    assert script.covered(script.kernels(events)) == 20 + 25
    assert script.covered([]) == 0


def test_the_script_says_so_where_there_is_no_gpu(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert script.main([]) == 2
    assert "PyTorch sees no GPU here" in capsys.readouterr().err


def test_the_script_runs_on_a_cpu_where_int8_changes_nothing(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(script, "KINDS", script.KINDS[:1])
    arguments = ["--device", "cpu", "--sizes", "64", "--seconds", "0", "--data", str(tmp_path)]
    assert script.main(arguments) == 0
    first, *rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert "CPU" in first["device"]
    assert [row["precision"] for row in rows] == ["int8", "fp32"]
    for row in rows:
        assert row["speed"][0]["in_batches_of"] == row["compared"]
        assert row["speed"][0]["tiles_a_second"] > 0
    assert rows[0]["bits_changed"] == rows[0]["in_tf32"]["features_changed"] == 0


@pytest.mark.parametrize(
    ("precision", "plain", "rough", "wanted"),
    [("int8", 0, 0, 0), ("int8", 0.1, 0, 1), ("int8", 0, 0.1, 1), ("fp32", 0.1, 0.1, 0)],
)
def test_the_script_fails_if_int8_differs(capsys, monkeypatch, precision, plain, rough, wanted):
    def measure(**settings):
        here = settings["precision"] == precision
        row = {"bits_changed": 0, "features_changed": plain if here else 0}
        return row | {"in_tf32": {"bits_changed": rough if here else 0}}

    monkeypatch.setattr(script, "measure", measure)
    assert script.main(["--device", "cpu"]) == wanted
    assert ("int8 is not what the CPU computes" in capsys.readouterr().err) == bool(wanted)


@pytest.mark.parametrize("kind", script.KINDS)
@pytest.mark.parametrize("size", [64, 256])
def test_the_script_invents_tiles_of_each_kind(tmp_path, kind, size):
    tiles = script.make_tiles(3, size=size, kind=kind, data=tmp_path)
    four = kind == script.KINDS[1]
    assert (tiles.shape, tiles.dtype) == (
        (3, 4 if four else 3, size, size),
        torch.uint16 if four else torch.uint8,
    )
    assert len(tiles.int().flatten(1).unique(dim=0)) == 3


def test_shares_that_differ_are_counted():
    codes = np.zeros((2, 2), np.uint8)
    features = np.zeros((2, 5), np.float32)
    other = codes.copy()
    other[1, 0] = 0b101
    moved = features + np.eye(2, 5, dtype=np.float32)
    found = script.changed((codes, features), (other, moved))
    assert found == {"bits_changed": 2 / 32, "features_changed": 0.2}
