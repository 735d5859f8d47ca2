"""New images with a way back."""
