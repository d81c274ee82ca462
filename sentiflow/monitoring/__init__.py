"""The texts that a model was asked about: their log, drift from the training texts, labels, accuracy in use."""
