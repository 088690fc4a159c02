"""The shipped stand-in for the application under watch; a team replaces it by its own."""
