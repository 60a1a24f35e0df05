"""The campaign's own parts."""
