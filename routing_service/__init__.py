"""A gRPC service that decides, for each prompt, whether the strong or the weak LLM should answer it."""
