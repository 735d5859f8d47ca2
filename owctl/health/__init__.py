"""Protocol probes and the verdict over a whole stack."""
