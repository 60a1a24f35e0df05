"""A board behind a port: link, AT conversation, resets, found again."""
