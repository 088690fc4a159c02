"""Components: one file each. What a component needs before it starts, and how it is known to be ready."""
