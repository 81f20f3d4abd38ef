"""`python -m routing_gateway.echo`."""

from routing_gateway.echo.server import main

if __name__ == "__main__":
    raise SystemExit(main())
