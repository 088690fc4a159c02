"""Source kinds: one file each. Real components come into the cache without root, without touching the system."""
