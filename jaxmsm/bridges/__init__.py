"""One scale disappears into another."""
