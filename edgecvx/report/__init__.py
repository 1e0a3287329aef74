"""One report over every result: read, joined, said in words, drawn."""
