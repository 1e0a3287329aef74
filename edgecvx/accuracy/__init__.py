"""How much worse a file is than FP32 PyTorch, on pictures."""
