"""The trainers of `bert` and `causal_llm` routers."""
