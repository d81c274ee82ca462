"""A training: what it is, what it starts from, its MLflow run, its network and the packaged model."""
