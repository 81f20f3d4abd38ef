"""`routing-gateway`, and `routing-service chat`."""

import os

# gRPC's own log quotes what a peer says, line ends included: that could pass for lines of ours. It is read when gRPC is
# imported, by what the commands import. An application that only uses this package has its own say.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
