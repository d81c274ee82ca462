"""MLflow: the client that writes, the readers, versions, promotion, transfer of a store."""
