"""gRPC: the only room that knows the wire."""
