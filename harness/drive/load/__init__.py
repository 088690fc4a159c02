"""Load: Locust as a subprocess, raw samples out of it."""
