"""The commands that the lab brings to `routing-service`."""
