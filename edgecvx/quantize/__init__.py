"""INT8: calibration, plans and their insertion."""
