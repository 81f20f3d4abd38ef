"""`Calibrate` streams without end, and others that are to have their turn, or a server that is to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import grpc
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.support.services import StartService


def test_a_stream_that_goes_on_does_not_hold_a_stop_up(start_service: StartService) -> None:
    service = start_service(config="server: {shutdown: {grace_seconds: 90}}")
    sent: list[int] = []

    def endless() -> Iterator[pb.CalibrateRequest]:
        yield pb.CalibrateRequest(strong_shares=[0.5])
        while True:
            sent.append(1)
            yield pb.CalibrateRequest(prompts=[f"What is {len(sent)} + 2?"])

    with grpc.insecure_channel(service.address) as channel:
        call = pb_grpc.RoutingServiceStub(channel).Calibrate.future(endless())
        eventually(lambda: len(sent) >= 200, "prompts flow")
        started = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - started < 60, "it waited for a call that never ends"
        error = call.exception(timeout=10)
    # With its reason, unless what the process left unread made the system reset the connection before it arrived.
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "Traceback" not in service.log


def test_silent_streams_keep_nobody_out(start_service: StartService) -> None:
    service = start_service(config="server: {limits: {max_open_calibrations: 8, calibration_idle_seconds: 3600}}")
    silent: list[Any] = []
    sizes: list[int] = []
    refusals: list[tuple[grpc.StatusCode, str]] = []
    over = threading.Event()

    def one_message() -> Iterator[pb.CalibrateRequest]:
        yield pb.CalibrateRequest(strong_shares=[0.5], prompts=["What is 2 + 2?"])
        over.wait()

    def calibrate(stub: pb_grpc.RoutingServiceStub) -> None:
        message = pb.CalibrateRequest(strong_shares=[0.5], prompts=["Prove it.", "hi"])
        try:
            sizes.append(stub.Calibrate(iter([message])).sample_size)
        except grpc.RpcError as error:  # while no other has been silent for a second
            refusals.append((error.code(), str(error.details())))

    def one_has_ended() -> bool:
        calibrate(stub)
        return any(call.done() for call in silent)

    with grpc.insecure_channel(service.address) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        try:
            silent = [stub.Calibrate.future(one_message()) for _ in range(8)]
            eventually(one_has_ended, "the one that was silent longest makes room")
            assert set(sizes) == {2}
            assert all(code is grpc.StatusCode.RESOURCE_EXHAUSTED and "try again" in why for code, why in refusals)
            assert stub.Decide(pb.DecideRequest(prompt="hi")).decision.model
            (ended,) = (call for call in silent if call.done())
            assert ended.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert "another needed its place" in ended.details()
        finally:
            over.set()
            for call in silent:
                call.cancel()
