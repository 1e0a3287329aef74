"""Files measured in turns until the answer is safe: limits, claims, tests, ends."""
