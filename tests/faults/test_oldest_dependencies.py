"""Why two floors are where they are: what the oldest versions that are supported must refuse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from tests.support.services import StartService

BOMB_BYTES = 256 << 20


def test_a_compressed_message_that_is_too_large_is_refused_before_it_is_unpacked(start_service: StartService) -> None:
    service = start_service()
    status = Path(f"/proc/{service.process.pid}/status")
    if not status.exists():
        pytest.skip("not here: a process's memory is read from /proc, which only Linux has")

    def peak_kb() -> int:
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:"))

    with grpc.insecure_channel(service.address, [("grpc.max_send_message_length", -1)]) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        stub.Decide(pb.DecideRequest(prompt="hi"))
        before = peak_kb()
        raw = channel.unary_unary("/llmrouting.v1.RoutingService/Decide", None, None)
        with pytest.raises(grpc.RpcError) as caught:
            raw(bytes(BOMB_BYTES), compression=grpc.Compression.Gzip)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert peak_kb() - before < BOMB_BYTES // 1024 // 2
        assert stub.Decide(pb.DecideRequest(prompt="hi")).decision.model


def test_a_model_that_names_a_file_outside_its_folder_is_not_loaded(tmp_path: Path) -> None:
    np.arange(4, dtype=np.float32).tofile(tmp_path / "outside.bin")
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "../outside.bin"), ("offset", "0"), ("length", "16")):
        weights.external_data.add(key=key, value=value)
    one, other = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "outside", [one], [other], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "model" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(model.SerializeToString())
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.Fail, match="External data"):
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
