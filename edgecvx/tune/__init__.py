"""Which file to ship: what could be written, what it would cost, and the race between the best."""
