"""Published figures measured anew: each script goes on where its last call stopped."""
