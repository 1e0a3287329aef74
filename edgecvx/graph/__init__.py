"""What every file is written from: the canonical graph, its exact folds, its integer grids, and how it is computed."""
