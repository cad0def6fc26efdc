"""FinVec: trains the models that FinColl serves."""
