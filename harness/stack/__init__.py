"""The stack room: brings real components, starts them in a sandbox, keeps them as their units say."""
