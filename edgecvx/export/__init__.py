"""From a torch module to the file of each target."""
