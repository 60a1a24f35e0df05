"""Third-party software against us."""
