"""What goes on inside: where heads look, how contextual states are, what is written in which layer."""
