"""A board behind a port URL."""
