"""Source kinds: one file each. Real components are brought into the cache, without root and without touching the system."""
