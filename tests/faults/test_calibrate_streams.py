"""A `Calibrate` stream without end, and a server that is to stop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

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
