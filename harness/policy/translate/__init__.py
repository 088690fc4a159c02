"""One language's files in another's words: what a team wrote for a program that is not here, for one that is. Pure."""
