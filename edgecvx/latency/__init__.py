"""How long a file takes on a device."""
