"""What each decision costs: milliseconds from whole files, energy from the quantized graph; and both as a chain."""
