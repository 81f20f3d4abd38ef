"""`python -m routing_client.gateway.echo`."""

from routing_client.gateway.echo.server import main

if __name__ == "__main__":
    raise SystemExit(main())
