"""FinColl: the inference API."""
