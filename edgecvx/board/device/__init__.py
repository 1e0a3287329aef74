"""What a device is, and how it fares while it is measured."""
