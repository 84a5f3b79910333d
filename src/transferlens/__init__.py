"""TransferLens."""
