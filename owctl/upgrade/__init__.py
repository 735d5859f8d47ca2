"""New images for a running stack, with a way back."""
