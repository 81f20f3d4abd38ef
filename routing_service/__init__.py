"""A gRPC service that decides, per prompt, whether the strong or the weak LLM should answer it."""
