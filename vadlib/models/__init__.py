"""The networks, what they minimise, and how they are kept on disk."""
