"""What a network is held against: simpler or other models on the same reviews, by the same splits."""
