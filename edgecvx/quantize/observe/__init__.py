"""What a calibration sees: the sweep, its statistics, and the ranges that can be taken from them."""
