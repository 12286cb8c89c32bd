"""Training: the loop, optimisers, schedules, weights on one process or many, and a run's state on disk."""
