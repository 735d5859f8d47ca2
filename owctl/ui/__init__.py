"""The screen: the only room that imports rich."""
