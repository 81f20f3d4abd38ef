"""What a graph may do: no loops that its router doesn't need, and no data from elsewhere or without end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from routing_service.artifacts.graphs import check_graph
from routing_service.artifacts.onnx_runtime import SessionConfig, open_session
from routing_service.errors import ArtifactError

FLOAT = TensorProto.FLOAT
VALUE = [helper.make_tensor_value_info(name, FLOAT, [4]) for name in ("x", "y")]


def branch(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    return helper.make_graph(
        list(nodes) or [helper.make_node("Identity", ["x"], ["out"])],
        "inner",
        [],
        [helper.make_empty_tensor_value_info("out")],
    )


def choice(inner: onnx.GraphProto | None = None) -> onnx.NodeProto:
    inner = inner or branch()
    return helper.make_node("If", ["x"], ["out"], then_branch=inner, else_branch=inner)


def scan(inner: onnx.GraphProto | None = None) -> onnx.NodeProto:
    return helper.make_node("Scan", ["x"], ["y"], body=inner or branch(), num_scan_inputs=1)


def model(*nodes: onnx.NodeProto, tensors: tuple[onnx.TensorProto, ...] = ()) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "outer", VALUE[:1], VALUE[1:], list(tensors))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def with_function() -> onnx.ModelProto:
    made = model(helper.make_node("Mine", ["x"], ["y"]))
    opsets = [helper.make_opsetid("", 17)]
    made.functions.append(helper.make_function("", "Mine", ["x"], ["out"], [choice()], opsets))
    return made


def sparse_constant() -> onnx.NodeProto:
    values, indices = numpy_helper.from_array(np.ones(1, np.float32)), numpy_helper.from_array(np.zeros(1, np.int64))
    tensor = helper.make_sparse_tensor(values, indices, [10**12])
    return helper.make_node("Constant", [], ["y"], sparse_value=tensor)


def stored(**places: str) -> onnx.TensorProto:
    """A tensor of four numbers whose data is elsewhere."""
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in places.items():
        tensor.external_data.add(key=key.rstrip("_"), value=value)
    return tensor


def written(folder: Path, made: onnx.ModelProto) -> Path:
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    return folder / "model.onnx"


def refusal(path: Path, *allowed: str) -> str:
    with pytest.raises(ArtifactError) as caught:
        check_graph(path, allowed)
    assert caught.value.path == path
    return str(caught.value)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (model(helper.make_node("Loop", ["", "", "x"], ["y"], body=branch())), "has the operator 'Loop'"),
        (model(helper.make_node("Loop", ["", "", "x"], ["y"])), "has the operator 'Loop'"),
        (model(choice()), "has the operator 'If'"),
        (model(scan()), "has the operator 'Scan'"),
        (model(helper.make_node("SequenceMap", ["x"], ["y"], body=branch())), "has the operator 'SequenceMap'"),
        (model(helper.make_node("BeamSearch", ["x"], ["y"], domain="com.microsoft", decoder=branch())), "'BeamSearch'"),
        (model(helper.make_node("Loop", ["x"], ["y"], domain="com.microsoft")), "has the operator 'Loop'"),
        (model(helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft")), "has the operator 'EPContext'"),
        (model(helper.make_node("Any", ["x"], ["y"], domain="my.own")), "of the unknown domain 'my.own'"),
        (model(sparse_constant()), "has sparse tensors"),
        (with_function(), "has functions of its own"),
    ],
)
def test_operators_that_a_router_does_not_need_are_refused(tmp_path: Path, made: onnx.ModelProto, says: str) -> None:
    message = refusal(written(tmp_path, made))
    assert says in message
    assert message.endswith("; export the artifact again")


def test_sessions_are_opened_after_the_check(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="'Loop', which this type of router doesn't need"):
        open_session(written(tmp_path, model(helper.make_node("Loop", ["", "", "x"], ["y"]))), SessionConfig())


def test_an_operator_that_the_router_needs_is_allowed_and_what_is_in_it_is_checked(tmp_path: Path) -> None:
    check_graph(written(tmp_path, model(scan())), ["Scan"])
    check_graph(written(tmp_path, model(scan(branch(scan())))), ["Scan"])
    assert "'If'" in refusal(written(tmp_path, model(scan(branch(choice())))), "Scan")
    inside = branch(helper.make_node("Constant", [], ["out"], value=stored(location="../w")))
    assert "reads data from '../w'" in refusal(written(tmp_path, model(scan(inside))), "Scan")


@pytest.mark.parametrize(
    "location",
    [
        "",
        "../w",
        "/etc/passwd",
        "sub/w",
        "..\\w",
        "..hidden",
        ".",
        "..",
        "*/_ORT_MEM_ADDR_/*",
        "a\0b",
        "w\udcff",
        "gone",
        "sub",
    ],
)
def test_data_comes_from_files_beside_the_graph_only(tmp_path: Path, location: str) -> None:
    (tmp_path / "sub").mkdir()
    for place in ("sub/w", "..hidden"):
        (tmp_path / place).write_bytes(bytes(16))
    raw = location.encode("utf-8", "surrogateescape")
    made = model(helper.make_node("Add", ["x", "w"], ["y"]), tensors=(stored(location="?" * len(raw)),))
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString().replace(b"?" * len(raw), raw) if raw else made.SerializeToString())
    assert "reads data from" in refusal(path)


@pytest.mark.parametrize(
    ("places", "says"),
    [
        ({"offset": "8"}, "has a tensor of 4 elements, and data for fewer"),
        ({"offset": "16", "length": "16"}, "reads 16 bytes at 16 of 'w', which has 16"),
        ({"length": "17"}, "reads 17 bytes at 0 of 'w', which has 16"),
        ({"offset": str(2**63), "length": str(2**63)}, "which has 16"),
        ({"offset": "-1"}, "whose data has the 'offset' '-1'"),
        ({"offset": "9" * 99}, "whose data has the 'offset'"),
        ({"length": "all"}, "whose data has the 'length' 'all'"),
        ({"location_": "model.onnx"}, "says the 'location' of its data twice"),
    ],
)
def test_data_is_within_its_file(tmp_path: Path, places: dict[str, str], says: str) -> None:
    (tmp_path / "w").write_bytes(bytes(16))
    tensor = stored(location="w", **places)
    if places.get("offset") == "8":
        tensor.dims[:] = [2, 400]
        says = says.replace("4", "800")
    assert says in refusal(written(tmp_path, model(helper.make_node("Add", ["x", "w"], ["y"]), tensors=(tensor,))))


def test_data_beside_the_graph_is_read(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(np.arange(6, dtype=np.float32).tobytes())
    made = model(helper.make_node("Add", ["x", "w"], ["y"]), tensors=(stored(location="w", offset="8", length="16"),))
    session = open_session(written(tmp_path, made), SessionConfig())
    assert session.run(None, {"x": np.zeros(4, np.float32)})[0].tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize(
    "tensor",
    [
        TensorProto(name="w", data_type=FLOAT, dims=[10**12], raw_data=bytes(16)),
        TensorProto(name="w", data_type=FLOAT, dims=[10**6, 10**6, 10**6], float_data=[1.0]),
        TensorProto(name="w", data_type=FLOAT, dims=[-1], float_data=[1.0]),
        TensorProto(name="w", data_type=TensorProto.STRING, dims=[10**9]),
        TensorProto(name="w", data_type=FLOAT, dims=[1] * 99, float_data=[1.0]),
    ],
)
@pytest.mark.parametrize("place", ["initializer", "attribute"])
def test_a_tensor_has_the_data_that_it_claims(tmp_path: Path, tensor: onnx.TensorProto, place: str) -> None:
    made = (
        model(helper.make_node("Add", ["x", "w"], ["y"]), tensors=(tensor,))
        if place == "initializer"
        else model(helper.make_node("Constant", [], ["y"], value=tensor))
    )
    message = refusal(written(tmp_path, made))
    assert "and data for fewer" in message or "more than 32 dimensions" in message


def test_packed_bits_are_dense(tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.INT4, dims=[4096], raw_data=bytes(2048))
    check_graph(written(tmp_path, model(helper.make_node("Cast", ["w"], ["y"], to=FLOAT), tensors=(tensor,))))


def _nested(depth: int) -> bytes:
    """Graphs in attributes of nodes of graphs."""
    raw = b""
    for tag in [*[0x32, 0x2A, 0x0A] * depth, 0x3A]:
        size, length = len(raw), b""
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        raw = bytes([tag]) + length + bytes([size]) + raw
    return raw


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda: b"\x3a\x05\x0a", "a field goes beyond its message"),
        (lambda: b"\x0b", "no field has the wire type 3"),
        (lambda: _nested(1000), "it is nested more than 32 deep"),
        (lambda: b"\x08\x01" * 5001, "it has more than 5,000 parts"),
    ],
)
def test_what_is_no_graph_is_refused_by_its_structure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Callable[[], bytes], says: str
) -> None:
    monkeypatch.setattr("routing_service.artifacts.graphs.MAX_FIELDS", 5000)
    (tmp_path / "model.onnx").write_bytes(content())
    message = refusal(tmp_path / "model.onnx")
    assert "cannot be loaded: it is no ONNX graph" in message
    assert says in message
