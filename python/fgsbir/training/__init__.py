"""Training: pairs or listed triplets in, a checkpoint and a log out."""
