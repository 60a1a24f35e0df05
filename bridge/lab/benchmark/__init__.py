"""The bridge and its peers in turn against the same virtual board: who is how fast, and how fast one could be."""
