"""The offline half of routing-service: preference data, training, evaluation."""
