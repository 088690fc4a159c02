"""The emitter: a writer of system records whose log suffers what logs suffer, on command."""
