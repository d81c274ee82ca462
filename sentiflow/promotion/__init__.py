"""From a registered version to the champion: the gate, the candidate, the history and the switch."""
