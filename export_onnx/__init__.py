"""Checkpoints to ONNX artifacts (offline)."""
