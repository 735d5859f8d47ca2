"""One change of data in a single swap, with a way on and a way back from wherever it was cut off."""
