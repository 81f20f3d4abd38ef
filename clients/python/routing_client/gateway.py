"""The gateway has moved: this module says where to, for one release."""

raise ImportError(
    "routing_client.gateway is now the package routing_gateway; run: pip install routing-gateway "
    "(in a checkout: pip install ./gateway), and import routing_gateway"
)
