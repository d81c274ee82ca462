"""MLflow: the client that writes, the readers, versions, promotion."""
