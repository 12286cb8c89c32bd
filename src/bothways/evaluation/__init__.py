"""What a model knows and what goes on inside it: probes, inspection, comparison; a definition of each metric."""
