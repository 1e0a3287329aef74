"""Where in the network the error of a file is born."""
