"""ONNX files in the form that TensorRT compiles best."""
