"""Training of retrieval models, and pretraining of their backbones."""
