"""ONNX and torch in, normalised graph out; the only room that knows onnx."""
