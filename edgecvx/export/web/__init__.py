"""The native engine's file as a site takes it."""
