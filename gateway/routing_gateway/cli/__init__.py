"""`routing-gateway`, and `routing-service chat`."""
