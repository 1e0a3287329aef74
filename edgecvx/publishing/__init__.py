"""What was made and measured, where other people and other runs are: a model hub, a tracking server."""
