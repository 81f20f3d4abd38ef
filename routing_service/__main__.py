"""`python -m routing_service` is `routing-service`."""

from routing_service.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
