"""Write what runs on a CPU as ONNX: an integer network, and how tiles are prepared for it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from geohash_rs.hashing.network.integer import IntegerNetwork
from geohash_rs.hashing.network.pooling import COVARIANCE, projection
from geohash_rs.hashing.network.preparation import EIGHTHS, WholePreparation

__all__ = ["INPUT", "integer_model", "preparation_model"]

INPUT = "images"
OPSET = 17
IR_VERSION = 8  # of that opset
RUNTIME_OPS = "com.microsoft"  # operators of ONNX Runtime


class _Graph:
    """A graph that is being written."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any) -> str:  # noqa: ANN401 - any array
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, operator: str, inputs: Sequence[str], **settings: Any) -> str:  # noqa: ANN401
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **settings))
        return name

    def cut(self, images: str, start: int, stop: int, *, axis: int) -> str:
        ends = [self.constant(np.array([value], np.int64)) for value in (start, stop, axis)]
        return self.add("Slice", [images, *ends])

    def model(self, given: Any, results: Sequence[Any]) -> bytes:  # noqa: ANN401 - onnx has no types
        graph = helper.make_graph(self.nodes, "graph", [given], list(results), self.constants)
        sets = [helper.make_opsetid("", OPSET), helper.make_opsetid(RUNTIME_OPS, 1)]
        model = helper.make_model(graph, opset_imports=sets, ir_version=IR_VERSION)
        data: bytes = model.SerializeToString()
        return data


def integer_model(network: IntegerNetwork, *, input_size: int) -> bytes:
    """Write an integer network.

    Args:
        network: The network.
        input_size: Side of its input, px.

    Returns:
        A model with the input `INPUT`, uint8, shape (tiles, bands, input_size, input_size). For
        each part of the features it has an output of that name with the sum of its activations,
        int32, shape (tiles, length of the part); for covariances, those of `products`.
    """
    graph = _Graph()
    axes = graph.constant(np.array([2, 3], np.int64))
    scale, zero = graph.constant(np.float32(1 / 255)), graph.constant(np.uint8(network.mean_pixel))
    result, side = INPUT, input_size
    entered = (result, scale, zero)
    sums = {}
    for layer in network.rounded:
        about = layer.shape
        if about.opens:
            entered = (result, scale, zero)
        before, after = about.padding(side)
        weight = layer.weight.cpu().numpy()
        quantised = [
            graph.constant(weight.astype(np.int8)),
            graph.constant(layer.weight_scale),
            graph.constant(np.zeros(len(weight), np.int8)),
        ]
        out = (graph.constant(layer.scale), graph.constant(np.uint8(layer.zero)))
        result = graph.add(
            "QLinearConv",
            [
                result, scale, zero, *quantised, *out,
                graph.constant(layer.bias.cpu().numpy().astype(np.int32)),
            ],
            group=about.groups,
            kernel_shape=[about.side] * 2,
            pads=[before, before, after, after],
            strides=[about.stride] * 2,
        )  # fmt: skip
        scale, zero = out
        if about.adds:
            result = graph.add("QLinearAdd", [result, *out, *entered, *out], domain=RUNTIME_OPS)
        side = about.length(side)
        if (stage := about.stage) in network.parts:
            whole = graph.add("Cast", [result], to=TensorProto.INT32)
            sums[stage] = graph.add("ReduceSum", [whole, axes], keepdims=0)
        if (stage := stage + COVARIANCE) in network.parts:
            sums[stage] = _products(graph, result, channels=len(weight), places=side**2)
    outputs = []
    for name in network.parts:
        graph.nodes.append(helper.make_node("Identity", [sums[name]], [name]))
        kind = (TensorProto.INT32, ["tiles", None])
        if name.endswith(COVARIANCE):
            kind = (TensorProto.DOUBLE, ["tiles", None, None])
        outputs.append(helper.make_tensor_value_info(name, *kind))
    shape: list[str | int | None] = ["tiles", network.in_chans, input_size, input_size]
    return graph.model(helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape), outputs)


def _products(graph: _Graph, images: str, *, channels: int, places: int) -> str:
    """Add `products` of an output of this many channels and places."""
    whole = graph.add("Cast", [images], to=TensorProto.DOUBLE)
    shape = graph.constant(np.array([0, channels, places], np.int64))
    signs = graph.constant(projection(channels).double().numpy())
    seen = graph.add("MatMul", [signs, graph.add("Reshape", [whole, shape])])
    turned = graph.add("Transpose", [seen], perm=[0, 2, 1])
    square = graph.add("MatMul", [seen, turned])
    last = graph.constant(np.array([2], np.int64))
    total = graph.add("ReduceSum", [seen, last], keepdims=1)
    apart = graph.add("MatMul", [total, graph.add("Transpose", [total], perm=[0, 2, 1])])
    times = graph.add("Mul", [square, graph.constant(np.float64(places))])
    return graph.add("Sub", [times, apart])


def preparation_model(preparation: WholePreparation) -> bytes:
    """Write how raw tiles of one size become whole pixels.

    Args:
        preparation: The same in PyTorch.

    Returns:
        A model with the input `INPUT`, float32, shape (tiles, bands, height, width), and one
        output, uint8, shape (tiles, bands, input_size, input_size).
    """
    graph = _Graph()
    images = INPUT
    if preparation.low.any():
        images = graph.add("Sub", [images, graph.constant(preparation.low.numpy())])
    images = graph.add("Mul", [images, graph.constant(preparation.factor.numpy())])
    ends = [graph.constant(np.float32(end)) for end in (0, preparation.steps)]
    images = graph.add("Round", [graph.add("Clip", [images, *ends])])
    if preparation.columns:
        parts = [
            graph.add("MatMul", [graph.cut(images, start, stop, axis=3), graph.constant(m.numpy())])
            for start, stop, m in preparation.columns
        ]
        images = graph.add("Round", [graph.add("Concat", parts, axis=3)])
    if preparation.rows:
        parts = [
            graph.add("MatMul", [graph.constant(m.numpy()), graph.cut(images, start, stop, axis=2)])
            for start, stop, m in preparation.rows
        ]
        images = graph.add("Concat", parts, axis=2)
    scale = [graph.constant(np.float32(EIGHTHS)), graph.constant(np.uint8(0))]
    graph.nodes.append(helper.make_node("QuantizeLinear", [images, *scale], ["pixels"]))
    shape: list[str | int | None] = [
        "tiles",
        len(preparation.low),
        preparation.height,
        preparation.width,
    ]
    return graph.model(
        helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape),
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["tiles", None, None, None])],
    )
