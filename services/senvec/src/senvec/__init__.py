"""SenVec: five sentiment microservices that make one vector of 72 features."""
