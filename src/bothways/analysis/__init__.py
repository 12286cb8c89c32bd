"""What goes on inside a model: how much its states depend on context, layer by layer."""
